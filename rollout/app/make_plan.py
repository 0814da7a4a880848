"""Make a plan and save it; nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollout import __version__
from rollout.app.collect import collect
from rollout.app.history import history
from rollout.app.journal import load
from rollout.app.world import World
from rollout.domain.errors import NotFound, RolloutError
from rollout.domain.inventory import Inventory
from rollout.domain.lifecycle import RolloutPhase
from rollout.domain.plan import ADOPT, Finding, Hook, Plan
from rollout.domain.policy import MethodChoice, Policy
from rollout.planning.lint import lint
from rollout.planning.planner import PlanRequest, TakesBack, make_plan, select_nodes
from rollout.planning.preflight import judge_preflight
from rollout.ports.store import RolloutRecord


@dataclass(frozen=True, slots=True)
class PlanResult:
    """A saved plan."""

    plan: Plan
    document: bytes
    record: RolloutRecord


def preflight(world: World, policy: Policy) -> tuple[Finding, ...]:
    """Judge the catalogue on the nodes the policy speaks of."""
    inventory = collect(world, policy.nodes)
    return judge_preflight(inventory, policy, select_nodes(inventory, policy))


def plan_rollout(world: World, policy: Policy) -> PlanResult:
    """Collect, plan, lint, save. Raises `UsageError`, `Refused`, or `RolloutError` for a plan with faults (a bug).

    For method `replace` all nodes are looked at: others of a pool prove what its new nodes start in.
    """
    looked_at = () if policy.method is MethodChoice.REPLACE else policy.nodes
    return save_plan(world, collect(world, looked_at), policy)


def moved_itself(policy: Policy) -> Policy:
    """The policy for nodes that are moved themselves, whatever was chosen for others: nobody replaces these."""
    return replace(policy, method=MethodChoice.AUTO) if policy.method is MethodChoice.REPLACE else policy


def save_plan(
    world: World,
    inventory: Inventory,
    policy: Policy,
    takes_back: TakesBack | None = None,
    *,
    adopts: bool = False,
) -> PlanResult:
    """Plan from an inventory, lint, save. `adopts`: only newly joined nodes without endpoints of the old kind."""
    purpose = f"rollback of {takes_back.rollout}" if takes_back else ADOPT if adopts else "rollout"
    identity = inventory.cluster.identity
    request = PlanRequest(
        serial=world.store.serial(identity.uid),
        program=__version__,
        purpose=purpose,
        takes_back=takes_back,
        adopts=adopts,
        hooks=tuple(Hook(name, digest, empty) for name, (digest, empty) in sorted(world.hosts.hooks().items())),
        playbooks=world.hosts.playbook_digests(),
        history=history(world.store, identity.uid),
    )
    plan = _unspent(world, make_plan(inventory, policy, request))
    faults = lint(plan, inventory)
    if faults:
        raise RolloutError(
            "plan-faulty",
            f"cannot save the plan: {'; '.join(faults)}",
            hint="this is a fault of the planner; please report it with the output of: rollout plan --output json",
        )
    document = plan.encode()
    record = world.store.save_plan(
        document,
        digest=plan.digest,
        cluster=identity.uid,
        purpose=purpose,
        now=world.clock.now(),
        by=world.who.name or world.who.account,
        account=world.who.account,
    )
    return PlanResult(plan, document, record)


def _unspent(world: World, plan: Plan) -> Plan:
    """The plan under the next serial that was neither applied nor aborted: a spent digest never comes back."""
    while True:
        try:
            _, state = load(world.store, plan.digest)
        except NotFound:
            return plan
        if not state.used and state.phase is not RolloutPhase.ABORTED:
            return plan
        plan = replace(plan, serial=plan.serial + 1)
