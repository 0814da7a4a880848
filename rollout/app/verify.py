"""Look at nodes now and judge them, outside any rollout. Its probe pods are gone afterwards, however it ends."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.app import probing
from rollout.app.probing import Seen, StandingRig
from rollout.app.probing_inputs import Peer, choose_peers, window_only
from rollout.app.world import World
from rollout.checks.catalog import SETTLING, decide, judge_node, levels
from rollout.domain.errors import Cancelled, Refused, RolloutError
from rollout.domain.inventory import Inventory, effective_config
from rollout.domain.node import LINK_KIND_OF, DatapathMode, Node
from rollout.domain.observed import PROBE_LINKS, LinkTable, parse_links
from rollout.domain.policy import CheckLevel, Policy
from rollout.domain.verdict import Status, Verdict
from rollout.planning.planner import select_nodes, source_mode

AT_ONCE = 10
"""Nodes looked at together: each takes up to four pods."""
_READY_S = 60.0
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class NodeProof:
    """What a node is meant to be, what the kernel lists, and the verdicts."""

    node: str
    expected: DatapathMode
    links: LinkTable | None
    verdicts: tuple[Verdict, ...]
    status: Status


@dataclass(frozen=True, slots=True)
class How:
    """How to look. `quick`: without eBPF. `pods`: with probe pods. `baseline_from`: a rollout whose baselines count."""

    policy: Policy
    quick: bool = False
    pods: bool = True
    baseline_from: str = ""

    @property
    def judged(self) -> Policy:
        """The policy, with what cannot be seen taken out."""
        off = {} if self.pods else dict.fromkeys(probing.RIG_CHECKS, CheckLevel.OFF)
        return replace(self.policy, checks={**self.policy.checks, **off})


def verify(
    world: World, nodes: tuple[str, ...], expected: DatapathMode | None, how: How | None = None
) -> tuple[NodeProof, ...]:
    """Observe nodes (all when none is named) and judge them against `expected`, else their effective configuration.

    Without a baseline nothing is compared: what is judged then is what must hold on any node. Raises `Refused` for a
    `baseline_from` that has none of a node, `NotFound` (`probe-namespace-missing`), `NotPermitted`.
    """
    how = how or How(Policy(target=DatapathMode.VETH))
    inventory = Inventory(world.cluster.collect(), {})
    chosen = select_nodes(inventory, replace(how.policy, nodes=nodes, selector={}))
    baselines = {node.name: _baseline(world, how, node.name) for node in chosen}
    run = _Run(world, inventory, expected, how, baselines)
    proofs: list[NodeProof] = []
    for start in range(0, len(chosen), AT_ONCE):
        proofs += run.look_at(tuple(chosen[start : start + AT_ONCE]))
    return tuple(proofs)


def _baseline(world: World, how: How, node: str) -> Seen | None:
    if not how.baseline_from:
        return None
    found = probing.baseline_of(world.store, world.store.find(how.baseline_from).id, node)
    if not found:
        raise Refused(
            "no-baseline",
            f"cannot compare node {node}: rollout {how.baseline_from} has no baseline of it",
            hint="leave out --baseline-from, or name only nodes of that rollout",
        )
    return found


class _Run:
    """One verification: a run of its own, whose probe pods bear its name."""

    def __init__(
        self,
        world: World,
        inventory: Inventory,
        expected: DatapathMode | None,
        how: How,
        baselines: Mapping[str, Seen | None],
    ) -> None:
        self._world, self._inventory, self._expected = world, inventory, expected
        self._how, self._baselines = how, baselines
        self._name = f"verify-{secrets.token_hex(4)}"
        self._secret = secrets.token_hex(16)
        self._policy = how.judged
        self._modes: dict[str, DatapathMode] = {}

    def look_at(self, nodes: tuple[Node, ...]) -> list[NodeProof]:
        """One look at some nodes, and a second one at those where something may just be settling."""
        rigs: dict[str, StandingRig] = {}
        unseen: dict[str, Seen] = {}
        pods = self._how.pods and probing.needs_rig(self._policy)
        try:
            if pods:
                self._world.probes.check(self._policy.probes)
                probing.sweep(self._world, self._policy.probes, self._name)
                self._raise(nodes, rigs, unseen)
            windows = {node.name: [seen] for node, seen in self._observe(nodes, rigs, unseen)}
            self._learn_modes(nodes, windows)
            proofs = {node.name: self._judge(node, windows[node.name]) for node in nodes}
            again = tuple(node for node in nodes if _settling(proofs[node.name]))
            if again:
                self._world.clock.wait(_AGAIN_S)
                for node, seen in self._observe(again, rigs, unseen):
                    windows[node.name].append(seen)
                    proofs[node.name] = self._judge(node, windows[node.name])
        finally:
            if pods:
                probing.take_down(self._world, self._policy.probes, self._name)
        return [proofs[node.name] for node in nodes]

    def _raise(self, nodes: Sequence[Node], rigs: dict[str, StandingRig], unseen: dict[str, Seen]) -> None:
        for node in nodes:
            rig = probing.rig_of(self._secret, self._name, node.name)
            try:
                rigs[node.name] = probing.stand_up(
                    self._world, rig, self._policy.probes, self._peers(node), node.internal_ip,
                    timeout_s=_READY_S, settle_s=probing.SETTLE_S,
                )  # fmt: skip
            except Cancelled:
                raise
            except RolloutError as error:
                unseen[node.name] = probing.unseen(node.name, self._world, error)

    def _peers(self, node: Node) -> tuple[Peer, ...]:
        """One peer in this node's own mode, then one in each other there is."""
        fit = [n for n in self._inventory.cluster.nodes if n.ready is True and not n.unschedulable]
        candidates = [Peer(n.name, self._kind(n)) for n in fit]
        kinds = [self._kind(node), *sorted({peer.kind for peer in candidates})]
        return choose_peers(node.name, kinds, candidates, (), self._policy.probes.peers)

    def _kind(self, node: Node) -> str:
        mode = self._configured(node)
        return LINK_KIND_OF[mode].value if mode else ""

    def _configured(self, node: Node) -> DatapathMode | None:
        cluster = self._inventory.cluster
        told = effective_config(cluster.agent, cluster.node_configs, node.labels) if cluster.agent else {}
        return _mode(told.get("datapath-mode", ""))

    def _observe(
        self, nodes: Sequence[Node], rigs: Mapping[str, StandingRig], unseen: Mapping[str, Seen]
    ) -> list[tuple[Node, Seen]]:
        probes = probing.probes_for(self._policy, quick=self._how.quick, rig=bool(rigs))
        seen = self._world.observer.observe(
            [self._world.host_of(node) for node in nodes],
            probes,
            wall_s=self._world.observe_s,
            inputs={n.name: rigs[n.name].inputs if n.name in rigs else window_only(self._policy.probes) for n in nodes},
        )
        return [(node, {**seen[node.name], **unseen.get(node.name, {})}) for node in nodes]

    def _learn_modes(self, nodes: Sequence[Node], windows: Mapping[str, Sequence[Seen]]) -> None:
        """What each node should be: as told, as configured, else as its agent runs."""
        inventory = replace(self._inventory, observations={name: seen[-1] for name, seen in windows.items()})
        for node in nodes:
            mode = self._expected or self._configured(node) or source_mode(inventory, node)
            self._modes[node.name] = mode or DatapathMode.VETH

    def _judge(self, node: Node, windows: Sequence[Seen]) -> NodeProof:
        mode, seen, baseline = self._modes[node.name], windows[-1], self._baselines[node.name]
        verdicts = judge_node(
            node.name, seen, baseline, mode, policy=self._policy, history=windows[:-1], quick=self._how.quick
        )
        counted = levels(mode, self._policy, quick=self._how.quick, baseline=baseline)
        return NodeProof(node.name, mode, parse_links(seen.get(PROBE_LINKS)), verdicts, decide(verdicts, counted))


def _settling(proof: NodeProof) -> bool:
    """Whether a look failed only where things settle by themselves for a moment."""
    failing = {v.check for v in proof.verdicts if v.status is Status.FAIL}
    return proof.status is Status.FAIL and failing <= SETTLING


def _mode(text: str) -> DatapathMode | None:
    """The configured mode; None for `auto` and words of later versions: then what the agent runs is expected."""
    return next((m for m in LINK_KIND_OF if m.value == (text or DatapathMode.VETH.value)), None)
