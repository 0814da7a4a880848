"""Who else uses eBPF on the nodes, and what the switch means for it."""

from __future__ import annotations

from rollout.planning.preflight.programs_known import CILIUM_PROGRAM, ON_LINKS, SYSTEM_PROGRAM
from rollout.planning.preflight.row import INFO, PASS, WARN, Facts, Judgement, Row, named

_VETH = "veth"


def _known_users(facts: Facts) -> Judgement:
    """Those that touch links; one that does not is told by the next row."""
    found = [(d, known) for d, known in facts.context.ebpf_users if known.touches_links]
    if not found:
        return PASS, "no program is known to run that attaches to pods' links, or finds them by kind or name"
    return WARN, "; ".join(
        f"{known.title} ({d.namespace}/{d.name}): {known.means}" + (f" ({known.source})" if known.source else "")
        for d, known in found
    )


def _harmless_users(facts: Facts) -> Judgement:
    found = [(d, known) for d, known in facts.context.ebpf_users if not known.touches_links]
    if not found:
        return PASS, "no other eBPF user was recognised"
    return INFO, "; ".join(f"{known.title} ({d.namespace}/{d.name}): {known.means}" for d, known in found)


def _foreign_programs(facts: Facts) -> Judgement:
    programs = facts.host.programs if facts.host else None
    if programs is None:
        why = facts.host.why_not("programs") if facts.host else "probe host was not read"
        return WARN, f"the programs loaded in the kernel are not known: {why}"
    foreign = [p for p in programs if not p.name.startswith((*CILIUM_PROGRAM, *SYSTEM_PROGRAM))]
    on_links = sorted({f"{p.name or 'a nameless one'} ({p.kind})" for p in foreign if p.kind in ON_LINKS})
    on_veth = sorted({p.name for p in foreign if p.kind in ("kprobe", "tracing") and _VETH in p.name})
    if on_links:
        return WARN, f"programs that are not Cilium's are made for links: {named(on_links)}; whose are they?"
    if on_veth:
        return WARN, f"programs watch the kernel's veth functions, which netkit does not call: {named(on_veth)}"
    return PASS, f"of {len(programs)} kinds of loaded programs none but Cilium's is made for links"


def _foreign_xdp(facts: Facts) -> Judgement:
    nics = facts.host.nics if facts.host else None
    if nics is None:
        why = facts.host.why_not("nics") if facts.host else "probe host was not read"
        return WARN, f"XDP programs on the node's cards are not known: {why}"
    foreign = [f"{n.xdp} on {n.name}" for n in nics if n.xdp and not n.xdp.startswith(CILIUM_PROGRAM)]
    if foreign:
        return WARN, f"XDP programs that are not Cilium's: {named(foreign)}; they see packets first, in either mode"
    return PASS, "no XDP program but Cilium's is on a link"


ROWS: tuple[Row, ...] = (
    Row(
        "ebpf-on-links", "no other program attaches to pods' links", _known_users, "DaemonSets: names and images",
        "look at it on the canary; restart it there after the switch if it misses pods",
        "its own documentation where named, else general",
        severity=WARN, per_node=False,
    ),
    Row(
        "ebpf-users", "other eBPF users do not mind the kind of link", _harmless_users, "DaemonSets: names and images",
        "nothing to do", "its own documentation where named, else general", severity=INFO, per_node=False,
    ),
    Row(
        "ebpf-programs", "no program but Cilium's is made for links", _foreign_programs,
        "probe host: programs loaded in the kernel", "find whose it is: bpftool prog show, bpftool net show",
        severity=WARN,
    ),
    Row(
        "xdp-foreign", "no XDP program but Cilium's is on a link", _foreign_xdp, "probe host: links with XDP programs",
        "see that its owner does not expect veth links behind it", severity=WARN,
    ),
)  # fmt: skip
