"""Does the pods' traffic cross links of the target's kind, and no other? Counted, not concluded from settings."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.checks.frame import read
from rollout.checks.material import Case
from rollout.domain.node import LINK_KIND_OF
from rollout.domain.observed import PROBE_LINKS, PROBE_PATH, PROBE_REACH, PathLink, parse_links, parse_path, parse_reach
from rollout.domain.verdict import Status, Verdict

PATH = "path"
_ENDPOINT = "lxc"


def judge_path(case: Case) -> Verdict:
    """Known traffic is seen on links of the target's kind, in each direction that can be seen at all.

    From pods it must be: their packets enter the host there. Towards pods it may not be: host routing redirects
    straight to the peer (bpf_redirect_peer), past the host side's counters.
    """
    document = read(case, PATH, PROBE_PATH, parse_path)
    if isinstance(document, Verdict):
        return document
    wanted = LINK_KIND_OF[case.target]
    pods = _pod_links(case, document.links)
    right = [link for link in pods if link.kind is wanted]
    wrong = [link for link in pods if link.kind is not wanted and link.to_pod + link.from_pod]
    sent, known = _total(right), known_packets(case)
    evidence = {
        "kind": wanted.value,
        "window_ms": document.frame.window_ms,
        "from_pod": sent[0],
        "to_pod": sent[1],
        "known_packets": known,
        "lost_events": document.frame.lost_events,
        "other_kinds": {link.name: link.to_pod + link.from_pod for link in wrong},
    }
    if wrong:
        told = ", ".join(
            f"{link.name} ({link.kind.value}, {link.to_pod + link.from_pod} packets)" for link in wrong[:5]
        )
        return case.say(PATH, Status.FAIL, f"traffic crosses links that are not {wanted.value}: {told}", evidence)
    if not known:
        return case.say(PATH, Status.INCONCLUSIVE, "no traffic is known to have passed in the window", evidence)
    if not sent[0]:
        words = f"of {known} packets known to have passed, none left a pod over a {wanted.value} link"
        return case.say(PATH, Status.FAIL, words, evidence)
    if 2 * sent[0] < known:
        words = f"only {sent[0]} of {known} packets known to have passed were seen leaving pods over {wanted.value}"
        return case.say(PATH, Status.INCONCLUSIVE, words, evidence)
    back = f"{sent[1]} to pods" if sent[1] else "those to pods bypass the host side, as host routing does"
    return case.say(PATH, Status.PASS, f"{sent[0]} packets from pods crossed {wanted.value}, {back}", evidence)


def _pod_links(case: Case, links: Iterable[PathLink]) -> list[PathLink]:
    """Links of endpoints: by the link table, and by name where it does not list them any more."""
    table = parse_links(case.seen.get(PROBE_LINKS))
    names = {link.name for link in table.links} if table else set()
    return [link for link in links if link.name in names or link.name.startswith(_ENDPOINT)]


def _total(links: Iterable[PathLink]) -> tuple[int, int]:
    found = list(links)
    return sum(link.from_pod for link in found), sum(link.to_pod for link in found)


def known_packets(case: Case) -> int:
    """Packets that pods of this node sent at least and that were answered, by the matrix of the same window."""
    reach = parse_reach(case.seen.get(PROBE_REACH))
    if reach is None:
        return 0
    return sum(burst.received for burst in reach.bursts) + sum(cell.ok for cell in reach.cells)
