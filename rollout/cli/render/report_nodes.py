"""The nodes of a report: one line each, then everything measured on those shown in detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.app.evidence import Cells, Evidence
from rollout.app.record import Judged, NodeDetail, NodeReport, Report
from rollout.cli.render import report_plots as plots
from rollout.cli.render import report_words as words
from rollout.cli.render.blocks import Heading, Para, Table, Tone
from rollout.cli.render.report_parts import STATUS_TONES, Figure, Fold, NodeTable, Part, tone_of
from rollout.cli.render.words import count, moment, span


def node_parts(report: Report) -> Iterator[Part]:
    """The table of all nodes, then those shown in detail."""
    yield Heading("Nodes")
    rows = tuple(_node_row(node) for node in report.nodes)
    tones = tuple(Tone.CARE if n.troubled and n.phase == "done" else tone_of(n.phase) for n in report.nodes)
    headers = (
        "node",
        "wave",
        "cohort",
        "result",
        "links before",
        "links after",
        "checks",
        "probe traffic lost",
        "took",
    )
    anchors = tuple(f"node-{i}" if n.detail else "" for i, n in enumerate(report.nodes))
    yield NodeTable(Table(headers, rows, tones), anchors)
    detailed = [(anchor, node) for anchor, node in zip(anchors, report.nodes, strict=True) if node.detail]
    if not detailed:
        yield Para("Nothing went wrong on any node; with --all every one is shown in detail.")
        return
    yield Heading("Nodes in detail")
    if len(detailed) < len(report.nodes):
        yield Para(
            f"The {count(len(detailed), 'node')} where something went wrong; with --all every one is shown in detail."
        )
    for anchor, node in detailed:
        assert node.detail is not None
        blocks = tuple(_detail(node, node.detail, report))
        yield Fold(f"{node.name}: {node.phase}", tone_of(node.phase), anchor, node.troubled, blocks)


def _node_row(node: NodeReport) -> tuple[str, ...]:
    took = span((node.ended - node.started).total_seconds()) if node.started and node.ended else "-"
    return (
        node.name,
        str(node.wave),
        str(node.cohort + 1),
        node.phase,
        words.kinds(node.links_before),
        words.kinds(node.links_after),
        ", ".join(f"{number} {status}" for status, number in node.verdicts.items()) or "none made",
        words.lost(node.traffic),
        took,
    )


def _detail(node: NodeReport, detail: NodeDetail, report: Report) -> Iterator[Part]:
    if node.reason:
        yield Para(node.reason, tone_of(node.phase))
    yield Figure((plots.node_timeline(node, report.made),), "")
    for judged in _worth_showing(detail):
        yield Heading(f"Checks at {words.step_name(judged.step, judged.track)}, {moment(judged.at)}", 4)
        yield _verdicts(judged)
    looks = [(name, evidence) for name, evidence in _looks(detail) if evidence is not None]
    if looks:
        yield Heading("Measured", 4)
        yield from _measured(looks)
        drawn = (plots.node_latency(node), plots.node_loss(node), *plots.node_hops(node), *plots.node_tcp(node))
        yield Figure(tuple(plot for plot in drawn if plot), "")
    missing = [(m.what, m.why) for m in detail.absent]
    missing += [(f"{name}: {m.what}", m.why) for name, evidence in looks for m in evidence.missing]
    if missing:
        yield Heading("Not measured", 4)
        yield Table(("what", "why"), tuple(missing))


def _worth_showing(detail: NodeDetail) -> list[Judged]:
    """The last word of each way, and every step with a verdict that is no pass."""
    last = {judged.track: judged for judged in detail.judged}
    return [
        j for j in detail.judged if j is last[j.track] or any(v.status in ("fail", "inconclusive") for v in j.verdicts)
    ]


def _verdicts(judged: Judged) -> Table:
    return Table(
        ("check", "verdict", "what was found", "numbers compared"),
        tuple((v.check, v.status, v.message, words.numbers(v) or "-") for v in judged.verdicts),
        tuple(STATUS_TONES.get(v.status, Tone.CARE) for v in judged.verdicts),
    )


def _looks(detail: NodeDetail) -> list[tuple[str, Evidence | None]]:
    return [("before", detail.before), ("after", detail.after), ("after the way back", detail.back)]


def _measured(looks: Sequence[tuple[str, Evidence]]) -> Iterator[Part]:
    rows = [row for row in _measured_rows([evidence for _, evidence in looks]) if any(row[1:])]
    headers = ("", *(f"{name} ({evidence.attempt})" for name, evidence in looks))
    yield Table(headers, tuple((row[0], *(cell or words.NOT_MEASURED for cell in row[1:])) for row in rows))
    pairs = _pair_rows([evidence for _, evidence in looks])
    if pairs:
        yield Table(("network policy pair", *(name for name, _ in looks)), tuple(pairs))
    drops = _drop_rows([evidence for _, evidence in looks])
    if drops:
        yield Table(("packets dropped", *(name for name, _ in looks)), tuple(drops))


def _measured_rows(looks: Sequence[Evidence]) -> Iterator[tuple[str, ...]]:
    yield "observed", *(moment(e.at) for e in looks)
    yield "endpoint links by the kernel", *(words.kinds(e.links) if e.links is not None else "" for e in looks)
    yield "agent's mode", *(e.mode for e in looks)
    yield "packets across links", *(words.crossings(e.crossings) if e.crossings else "" for e in looks)
    flows = [{f.key: f for f in e.flows} for e in looks]
    for key in sorted({key for table in flows for key in table}):
        found = [table.get(key) for table in flows]
        yield f"{key}: peers", *(", ".join(f.peers) if f else "" for f in found)
        yield f"{key}: lost", *(words.share(f.loss) if f else "" for f in found)
        for name in ("p50", "p90", "p99"):
            yield (
                f"{key}: round trip {name}",
                *(words.interval(getattr(f.rtt_us, name), "us") if f and f.rtt_us else "" for f in found),
            )
    cells = [{c.key: c for c in e.cells} for e in looks]
    for key in sorted({key for table in cells for key in table}):
        yield f"{key}: requests answered", *(_cells(table.get(key)) for table in cells)
    yield from _link_times(looks)
    yield from _node_tcp(looks)
    yield "our own eBPF programs", *(_costs(e) for e in looks)


def _cells(cell: Cells | None) -> str:
    if cell is None:
        return ""
    return f"{cell.ok} of {cell.tries}" + (f"; {'; '.join(cell.failures)}" if cell.failures else "")


def _link_times(looks: Sequence[Evidence]) -> Iterator[tuple[str, ...]]:
    """Link kinds differ from look to look, so they stand in the cells."""
    for direction in ("from-pod", "to-pod"):
        for name, permille in (("p50", 500), ("p99", 990)):
            cells = (
                "; ".join(
                    f"{hop.key.rsplit(' ', 1)[0]}: {words.bucket_words(hop, permille)}"
                    for hop in evidence.hops
                    if hop.key.endswith(f" {direction}")
                )
                for evidence in looks
            )
            yield f"time across the link, {direction}: {name} in", *cells


def _node_tcp(looks: Sequence[Evidence]) -> Iterator[tuple[str, ...]]:
    found = [e.tcp for e in looks]
    yield "connections", *(f"{t.connects:,}, {t.failures:,} failed" if t else "" for t in found)
    yield "connections per second", *(words.per_second(t.rate_milli) if t else "" for t in found)
    yield "connect latency p50 in", *(words.bucket_words(t.connect_us, 500) if t else "" for t in found)
    yield "connect latency p99 in", *(words.bucket_words(t.connect_us, 990) if t else "" for t in found)
    yield "smoothed round trip p50 in", *(words.bucket_words(t.srtt_us, 500) if t else "" for t in found)
    yield "segments sent again", *(_again(t.retransmits, t.segments) if t else "" for t in found)
    yield "resets sent, received", *(f"{t.resets_sent:,}, {t.resets_received:,}" if t else "" for t in found)


def _again(retransmits: int, segments: int | None) -> str:
    return f"{retransmits:,}" + (f" of {segments:,}" if segments is not None else ", segments are not counted")


def _costs(evidence: Evidence) -> str:
    return "; ".join(
        f"{c.name}: {words.duration(c.run_ns // c.runs, 'ns')} a run, {c.runs:,} runs" for c in evidence.costs if c.runs
    )


def _pair_rows(looks: Sequence[Evidence]) -> list[tuple[str, ...]]:
    tables = [{p.id: p for p in e.pairs} for e in looks]
    ids = sorted({key for table in tables for key in table})
    return [(key, *(t[key].result if key in t else words.NOT_MEASURED for t in tables)) for key in ids]


def _drop_rows(looks: Sequence[Evidence]) -> list[tuple[str, ...]]:
    """Absent in a look that counted is none; absent in a look that did not count is not measured."""
    tables = [{(d.source, d.reason): d.packets for d in e.drops} for e in looks]
    keys = sorted({key for table in tables for key in table})
    rows = []
    for source, reason in keys:
        cells = []
        for evidence, table in zip(looks, tables, strict=True):
            counted = evidence.drops_window_ms is not None if source == "kernel" else evidence.agent_counted
            cells.append(f"{table.get((source, reason), 0):,}" if counted else words.NOT_MEASURED)
        since = "in the probe's window" if source == "kernel" else "since the agent started"
        rows.append((f"{source}: {reason}, {since}", *cells))
    return rows
