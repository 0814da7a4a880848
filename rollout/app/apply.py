"""Apply an approved plan: take the lease, then rounds of decide, record, act, until nothing moves any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rollout.app.consent import consent_for
from rollout.app.journal import load, load_plan
from rollout.app.lease import LeaseKeeper
from rollout.app.probing import needs_rig, sweep, take_down
from rollout.app.rounds import Rounds
from rollout.app.world import World
from rollout.domain.codec import sha256
from rollout.domain.consent import Consent, require_consent
from rollout.domain.errors import NotFound, Refused
from rollout.domain.journal import Body, NodeDecided, RolloutDecided, RolloutState, RunEnded, RunStarted
from rollout.domain.lifecycle import NodeEvent, NodePhase, RolloutEvent, RolloutPhase
from rollout.domain.plan import Plan, decode_plan
from rollout.domain.step import Track
from rollout.engine.rules import comes_to_rest, exceeded_with


def reference_of_document(world: World, document: bytes) -> str:
    """The id of the saved plan whose text `document` is. Raises `Refused` when no saved plan has this very text."""
    text = document.strip(b"\n")
    digest = sha256(text)
    try:
        return world.store.find(digest).id
    except NotFound:
        decode_plan(text)  # says it better when it is damaged, edited or of another schema
    raise Refused(
        "plan-unknown",
        f"cannot use this plan: no plan of this text (digest {digest[:12]}) was saved in this state",
        hint="use the file that rollout plan wrote, with the state it was planned in",
    )


class Application:
    """One process applying one rollout. `rounds` lets the command line pause or stop it."""

    def __init__(self, world: World, reference: str) -> None:
        self.world = world
        self.record, self.state = load(world.store, reference)
        self.plan = load_plan(world.store, self.record.id)
        self.rounds = Rounds(world, self.plan, self.record.id, self.state)

    def start(self) -> RolloutState:
        """Apply a plan for the first time. Raises `Refused` for a used, unapproved, foreign or stale one."""
        self._first_start(self.state)
        require_cluster(self.world, self.plan)
        require_probe_pods(self.world, self.plan)
        return self._run(self._first_start)

    def _first_start(self, state: RolloutState) -> tuple[Body, ...]:
        """What a first application records. Raises `Refused` for a plan that may not be applied (any more)."""
        if state.used:
            raise Refused(
                "plan-used",
                f"cannot apply plan {self.record.id}: it was applied already",
                hint=f"to go on with it: rollout resume {self.record.id}; for another round: rollout plan",
            )
        if state.phase is RolloutPhase.ABORTED:
            raise Refused(
                "plan-aborted",
                f"cannot apply plan {self.record.id}: it was aborted",
                hint="make a new one: rollout plan",
            )
        require_consent(consent_for(self.world, self.plan, state))
        start = RolloutDecided(RolloutEvent.START, self.world.who.operator)
        if state.phase is RolloutPhase.DRAFT:  # the rules at the time asked for more than those now
            return (RolloutDecided(RolloutEvent.APPROVE, "enough by the rules in force"), start)
        return (start,)

    def resume(self, retry: tuple[str, ...] = ()) -> RolloutState:
        """Go on after a pause, a hold or a dead process. `retry`: quarantined nodes to try again."""
        self._resumption(self.state, retry)
        require_cluster(self.world, self.plan)
        if self.state.abort is None:
            require_probe_pods(self.world, self.plan)
        return self._run(lambda state: self._resumption(state, retry))

    def _resumption(self, state: RolloutState, retry: tuple[str, ...]) -> tuple[Body, ...]:
        if not state.used or state.phase in (RolloutPhase.COMPLETED, RolloutPhase.ABORTED):
            raise Refused(
                "not-resumable",
                f"cannot resume rollout {self.record.id}: it is {state.phase.value}",
                hint="see: rollout status",
            )
        if goes_on(state):
            _require_consent_still(consent_for(self.world, self.plan, state))
        bodies = resume_bodies(state, retry)
        exceeded = exceeded_with(self.plan, state, retry) if retry else ()
        if exceeded:
            raise Refused(
                "retry-exceeds",
                f"cannot retry {', '.join(retry)} now: with nodes in progress that exceeds {', '.join(exceeded)}",
                hint="try fewer at once, or bring the others to their end first: rollout resume, without --retry",
            )
        return bodies

    def _run(self, first: Callable[[RolloutState], tuple[Body, ...]]) -> RolloutState:
        """Apply under the state's lock and the cluster's lease. `first` is asked again there: much may have changed."""
        with self.world.store.exclusive(self.record.id), self._lease() as lease:
            who = self.world.who
            started = RunStarted(who.operator, who.host, who.pid, lease.fencing)
            self.rounds.record(lambda state: (started, *first(state)))
            with self._probe_pods(lease):
                final = self.rounds.run(lease)
            self.rounds.record(lambda _state: (RunEnded(final.phase.value),))
            return self.rounds.state

    @contextmanager
    def _probe_pods(self, lease: LeaseKeeper) -> Iterator[None]:
        """None of this rollout before the first look and after the last one; whoever took the lease keeps its own."""
        rules, wanted = self.plan.policy.probes, needs_rig(self.plan.policy)
        if wanted:
            sweep(self.world, rules, self.record.id)
        try:
            yield
        finally:
            if wanted and not lease.lost.is_set():
                take_down(self.world, rules, self.record.id)

    @contextmanager
    def _lease(self) -> Iterator[LeaseKeeper]:
        lease = LeaseKeeper(self.world)
        lease.take()
        try:
            yield lease
        finally:
            lease.release()


def goes_on(state: RolloutState) -> bool:
    """Whether a resume would take up work beyond bringing nodes to rest: what is undone needs no approval."""
    return state.abort is None and not (state.phase is RolloutPhase.HELD and comes_to_rest(state))


def _require_consent_still(consent: Consent) -> None:
    """Raises `Refused` when approvals that were enough at the start are none any more: a key was revoked since."""
    try:
        require_consent(consent)
    except Refused as refused:
        raise Refused(
            "approval-gone",
            refused.message.replace("cannot apply", "cannot go on with"),
            hint="to bring its nodes to rest all the same: rollout abort, then rollout resume",
        ) from refused


def resume_bodies(state: RolloutState, retry: tuple[str, ...]) -> tuple[Body, ...]:
    """Decisions a resume makes: the rollout runs, held nodes go on, quarantined ones only when named.

    What a dead process left of a rollout that was held is brought to rest first, and it stays held: nobody has seen yet
    what a person would accept. Raises `Refused` for nodes that cannot be retried (now).
    """
    if state.phase is RolloutPhase.HELD and comes_to_rest(state):
        if retry:
            raise Refused(
                "not-at-rest",
                f"cannot retry node {retry[0]} now: nodes are still on their way back",
                hint="bring them to rest first: rollout resume, without --retry",
            )
        return ()
    bodies: list[Body] = []
    if state.phase is RolloutPhase.HELD:
        bodies.append(RolloutDecided(RolloutEvent.RESUME))
    for name in retry:
        if state.node(name).phase is not NodePhase.QUARANTINED:
            raise Refused(
                "not-quarantined",
                f"cannot retry node {name}: it is {state.node(name).phase.value}",
                hint="only quarantined nodes are tried again; see: rollout status",
            )
    for name, node in sorted(state.nodes.items()):
        if node.phase is NodePhase.HELD or name in retry:
            bodies.append(NodeDecided(name, _EVENT_OF_TRACK[node.track], "resumed"))
    return tuple(bodies)


_EVENT_OF_TRACK = {
    Track.FORWARD: NodeEvent.CONTINUE,
    Track.RETURN: NodeEvent.GIVE_BACK,
    Track.BACK: NodeEvent.ROLL_BACK,
}


def require_cluster(world: World, plan: Plan) -> None:
    """Raises `Refused` when the plan is of another cluster."""
    identity = world.cluster.identity()
    if identity.uid != plan.cluster.uid:
        raise Refused(
            "other-cluster",
            f"cannot apply the plan here: it is of cluster {plan.cluster.uid}, this is {identity.uid}",
            hint="choose the context it was planned with: --context",
        )


def require_probe_pods(world: World, plan: Plan) -> None:
    """Raises `NotFound`, `NotPermitted`, `Invalid` when probe pods could not be made: before anything is touched."""
    if needs_rig(plan.policy):
        world.probes.check(plan.policy.probes)
