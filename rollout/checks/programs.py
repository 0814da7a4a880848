"""Has every link the programs it needs, at the places of the target's mode?

A pod's packets meet the agent's program at netkit's peer side, or at a veth's host side inward; without it veth passes
them unjudged and netkit's peer policy `blackhole` swallows them (cilium-netkit.md: the agent sets it, so that no packet
leaves a pod before a program is there; lab.md 4: it counts only while none is attached).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollout.checks.finding import named
from rollout.checks.material import Case
from rollout.domain.node import LinkKind
from rollout.domain.observed import (
    PROBE_AGENT,
    PROBE_LINKS,
    PROBE_PROGRAMS,
    Device,
    Programs,
    parse_agent,
    parse_links,
    parse_programs,
)
from rollout.domain.verdict import Status, Verdict

PROGRAMS = "programs"

_FROM_POD = {True: frozenset({"netkit-peer"}), False: frozenset({"tcx-ingress", "tc-ingress"})}
_TO_POD = {True: frozenset({"netkit-primary"}), False: frozenset({"tcx-egress", "tc-egress"})}
"""Where an endpoint's programs sit, on netkit and on veth.

Towards the pod there is one only where the endpoint's configuration wants it (`RequireEgressProg` in Cilium's
pkg/datapath/loader), whatever the mode: so the baseline says whether it is wanted."""

_HOST_ENDPOINT, _READY = "cilium_host", "ready"
_OF_AGENT = "cil_"
"""How the agent names its programs; others on a host device are none of its business, nor ours."""


def judge_programs(case: Case) -> Verdict:
    """Endpoint links by the target's places, host devices by what they had at the baseline."""
    now = parse_programs(case.seen.get(PROBE_PROGRAMS))
    if now is None:
        return case.unread(PROGRAMS, PROBE_PROGRAMS)
    before = parse_programs(case.baseline.get(PROBE_PROGRAMS)) if case.baseline is not None else None
    evidence = _evidence(now, before)
    found = [*_endpoint_faults(case, now, before), *_host_faults(now, before)]
    busy = _busy_links(case, now)
    faults = [words for name, words in found if name not in busy]
    if faults:
        return case.say(PROGRAMS, Status.FAIL, named(faults, "; "), evidence)
    if found:
        words = f"the agent is not done yet: {named([words for _, words in found], '; ')}"
        return case.say(PROGRAMS, Status.INCONCLUSIVE, words, evidence)
    unread = [f"{name} ({why})" for name, why in now.unread if why not in _never_read(before)]
    if unread:
        return case.say(PROGRAMS, Status.INCONCLUSIVE, f"programs could not be read on {named(unread)}", evidence)
    if case.baseline is not None and before is None:
        why = case.unread(PROGRAMS, PROBE_PROGRAMS, case.baseline).message
        return case.say(PROGRAMS, Status.INCONCLUSIVE, f"no baseline of the host's programs: {why}", evidence)
    if not any(_is_endpoint(device) for device in now.devices):
        return case.say(PROGRAMS, Status.INCONCLUSIVE, "there is no endpoint link at all to judge by", evidence)
    return case.say(PROGRAMS, Status.PASS, "every endpoint link and host device has its programs", evidence)


def _never_read(before: Programs | None) -> frozenset[str]:
    """Reasons that held at the baseline as well: a hook that this kernel has not."""
    return frozenset(why for _, why in before.unread) if before else frozenset()


def _is_endpoint(device: Device) -> bool:
    return device.role in ("endpoint", "health")


def _busy_links(case: Case, now: Programs) -> frozenset[str]:
    """Links whose programs the agent may still be at: it compiles and attaches for one endpoint after the other.

    The first endpoints of a new configuration wait for tens of seconds (real-cluster.md), and a link is there before
    the agent knows its endpoint. While it is not up it attaches nothing.
    """
    agent = parse_agent(case.seen.get(PROBE_AGENT))
    if agent is None or agent.state != "up":
        return frozenset(device.name for device in now.devices)
    if not agent.link_states:
        return frozenset()
    host_ready = agent.link_states.get(_HOST_ENDPOINT, _READY) == _READY
    return frozenset(
        device.name
        for device in now.devices
        if (agent.link_states.get(device.name) != _READY if _is_endpoint(device) else not host_ready)
    )


def _endpoint_faults(case: Case, now: Programs, before: Programs | None) -> Iterator[tuple[str, str]]:
    judges_replies = before is not None and _all_have(before, _TO_POD)
    policies, unread = _peer_policies(case), _doubtful(now, before)
    for device in filter(_is_endpoint, now.devices):
        if device.name in unread:
            continue
        netkit = device.kind in (LinkKind.NETKIT_L2, LinkKind.NETKIT_L3)
        if not device.places & _FROM_POD[netkit]:
            yield device.name, _no_program(device, netkit, policies.get(device.name, ""))
        elif device.role == "endpoint" and judges_replies and not device.places & _TO_POD[netkit]:
            words = f"{device.name} has no program towards the pod, as every endpoint link had at the baseline"
            yield device.name, words


def _doubtful(now: Programs, before: Programs | None) -> frozenset[str]:
    """Links of which something could not be read that could be before: what they lack may only not have been seen."""
    return frozenset(name for name, why in now.unread if why not in _never_read(before))


def _all_have(programs: Programs, places: Mapping[bool, frozenset[str]]) -> bool:
    devices = [device for device in programs.devices if device.role == "endpoint"]
    return bool(devices) and all(
        device.places & places[device.kind in (LinkKind.NETKIT_L2, LinkKind.NETKIT_L3)] for device in devices
    )


def _peer_policies(case: Case) -> Mapping[str, str]:
    table = parse_links(case.seen.get(PROBE_LINKS))
    return {link.name: link.peer_policy for link in table.links} if table else {}


def _no_program(device: Device, netkit: bool, peer_policy: str) -> str:
    if netkit and peer_policy != "forward":
        return f"{device.name} is a blackhole: no program at netkit-peer, and the link then drops what the pod sends"
    misplaced = ", ".join(sorted(device.places))
    where = "netkit-peer" if netkit else "tcx-ingress or tc-ingress"
    rest = f"; what it has sits at {misplaced}" if misplaced else "; what its pod sends is judged by nobody"
    return f"{device.name} ({device.kind.value}) has no program at {where}{rest}"


def _host_faults(now: Programs, before: Programs | None) -> Iterator[tuple[str, str]]:
    present = {device.name: device for device in now.devices}
    unread = _doubtful(now, before)
    for device in before.devices if before else ():
        if _is_endpoint(device) or device.name in unread:
            continue
        found = present.get(device.name)
        missing = _directed(device) - (_directed(found) if found else frozenset())
        if missing:
            words = ", ".join(f"{program} at {direction}" for direction, program in sorted(missing))
            yield device.name, f"{device.name} lacks its host programs: {words} was there at the baseline"
    if before is None:
        yield from (
            (device.name, f"{device.name} has no host program at all")
            for device in now.devices
            if device.role == "host" and device.name == "cilium_host" and not device.attached
        )


def _directed(device: Device) -> frozenset[tuple[str, str]]:
    """The agent's programs by direction. tc or tcx does not matter: a netkit mode moves all devices to tcx."""
    return frozenset(
        (each.at.rpartition("-")[2], each.program) for each in device.attached if each.program.startswith(_OF_AGENT)
    )


def _evidence(now: Programs, before: Programs | None) -> dict[str, object]:
    evidence: dict[str, object] = {"now": _counts(now), "unread": [name for name, _ in now.unread]}
    return evidence | ({"before": _counts(before)} if before else {})


def _counts(programs: Programs) -> dict[str, int]:
    """Programs by role and place."""
    found: dict[str, int] = {}
    for device in programs.devices:
        for each in device.attached:
            found[f"{device.role} {each.at}"] = found.get(f"{device.role} {each.at}", 0) + 1
    return dict(sorted(found.items()))
