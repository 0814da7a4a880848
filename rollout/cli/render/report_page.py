"""The change record as blocks: page one for who answers for the change, then cohorts, then nodes.

One page serves all forms. HTML adds plots and folds; text and Markdown get the same blocks in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rollout.app.cohorts import Cohort, LatencyChange, TcpTotals
from rollout.app.evidence import Histogram
from rollout.app.record import Report
from rollout.cli.render import report_plots as plots
from rollout.cli.render import report_words as words
from rollout.cli.render.blocks import Bullets, Commands, Heading, Pairs, Para, Table, Tone
from rollout.cli.render.report_nodes import node_parts
from rollout.cli.render.report_parts import Figure, Part
from rollout.cli.render.words import count, moment, span


def report_page(report: Report) -> list[Part]:
    """Everything, in the order people read it."""
    return [*_first_page(report), *_cohorts(report), *node_parts(report), *_notes(report)]


# --- page one ------------------------------------------------------------------------------------------------------


def _first_page(report: Report) -> Iterator[Part]:
    yield Heading(f"Rollout {report.rollout}: {report.phase}", 1)
    yield Para(words.headline(report), Tone.GOOD if _clean(report) else Tone.CARE)
    yield Figure((plots.outcome(report),), "")
    yield Pairs(tuple((name, value) for name, value in _facts(report) if value))
    yield Heading("What failed, and what was done")
    if report.failures:
        yield _failures(report)
    else:
        yield Para("No step failed, was held or lost its node.", Tone.GOOD)
    yield Heading("What is open")
    if report.open:
        yield Table(("what", "next"), tuple((o.what, o.next or "-") for o in report.open))
    else:
        yield Para("Nothing.", Tone.GOOD)
    yield from _scope(report)
    yield from _times(report)


def _clean(report: Report) -> bool:
    return not report.failures and not report.open


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "purpose", report.purpose
    yield "planned", "; ".join(words.moved_words(report))
    yield "cluster", words.cluster_words(report)
    yield "approved by", "; ".join(words.approval_words(report)) or "nobody"
    yield "plan's digest", report.digest
    yield "applied by", "; ".join(words.run_words(report)) or "nobody"
    yield "asked for", "; ".join(f"{a.verb} by {a.by}, {moment(a.at)}: {a.reason or '-'}" for a in report.asks)
    yield "started, ended", _when(report)
    yield "lost of our probes' traffic, before", words.lost(report.before)
    yield "lost of it from then on", words.lost(report.during)
    yield "open", words.open_words(report)
    yield "report made", f"{moment(report.made)}, netkit-rollout {report.program}"


def _when(report: Report) -> str:
    if report.started is None:
        return "never started"
    length = f", {span((report.ended - report.started).total_seconds())}" if report.ended else ""
    return f"{moment(report.started)}, {moment(report.ended) if report.ended else 'not ended'}{length}"


def _failures(report: Report) -> Table:
    rows = tuple(
        (
            f.node,
            moment(f.at),
            words.step_name(f.step, f.track),
            f"{f.result} ({f.code})" if f.code else f.result,
            f.reason or "-",
            words.done_about(f),
        )
        for f in report.failures
    )
    return Table(("node", "when", "step", "result", "why", "what was done"), rows)


def _scope(report: Report) -> Iterator[Part]:
    if report.excluded:
        yield Heading("Left out of the plan", 3)
        yield Table(("node", "why"), tuple((e.node, "; ".join(e.reasons)) for e in report.excluded))
    if report.waivers:
        yield Heading("Rules that were waived", 3)
        yield Table(
            ("rule", "asked by", "why", "nodes"),
            tuple((w.rule, w.by, w.reason, ", ".join(w.nodes) or "all") for w in report.waivers),
        )


def _times(report: Report) -> Iterator[Part]:
    yield Heading("Waves and gates")
    rows = tuple(
        (
            str(wave.number),
            wave.name,
            ", ".join(f"{number} {phase}" for phase, number in wave.phases.items()),
            moment(wave.started),
            moment(wave.ended),
            "; ".join(f"{g.decision}: {g.reason}" for g in wave.gates) or "not asked yet",
        )
        for wave in report.waves
    )
    yield Table(("wave", "name", "nodes", "started", "ended", "gate"), rows)
    drawn = plots.timeline(report)
    if drawn:
        yield Heading("Timeline", 3)
        yield Figure((drawn, plots.step_legend()), "Point at a bar to see the step, how it ended and how long it took.")


# --- cohorts -------------------------------------------------------------------------------------------------------


def _cohorts(report: Report) -> Iterator[Part]:
    yield Heading("Before and after, by cohort")
    yield Para(
        "Nodes of one cohort share kernel, method and modes. A round-trip time is the median over their own. Nodes "
        "that are not in the new mode now are left out, so that after means what stands."
    )
    for number, cohort in enumerate(report.cohorts, 1):
        yield Heading(f"Cohort {number}: {cohort.title}", 3)
        yield from _cohort(cohort)


def _cohort(cohort: Cohort) -> Iterator[Part]:
    measured = f"{cohort.measured} of {count(len(cohort.nodes), 'node')}, by what was observed before and after"
    if cohort.apart:
        measured += f"; left out, and shown by themselves below: {', '.join(cohort.apart[:20])}"
        measured += f" and {len(cohort.apart) - 20} more" if len(cohort.apart) > 20 else ""
    if not cohort.measured:
        yield Para(f"{measured}. There is nothing to compare.", Tone.CARE)
        return
    yield Pairs(
        (
            ("compared", measured),
            ("links before, by the kernel", words.kinds(cohort.links[0])),
            ("links after, by the kernel", words.kinds(cohort.links[1])),
        )
    )
    yield from _latency(cohort.latency)
    if cohort.latency:
        yield Figure((plots.cohort_latency(cohort),), "")
    yield from _cohort_loss(cohort)
    yield from _hop_table([("before", cohort.hops[0]), ("after", cohort.hops[1])])
    yield Figure(tuple(plots.cohort_hops(cohort)), "")
    yield from _tcp_table([("before", cohort.tcp[0]), ("after", cohort.tcp[1])])
    yield Figure(tuple(plots.cohort_tcp(cohort)), "")


def _latency(rows: Sequence[LatencyChange]) -> Iterator[Part]:
    if not rows:
        yield Para(f"Round-trip times: {words.NOT_MEASURED} on both sides of any node.", Tone.FAINT)
        return
    yield Table(
        ("round-trip time", "nodes", "before", "after", "change"),
        tuple(
            (
                f"{c.key} {c.quantile}",
                str(c.nodes),
                words.interval(c.before, "us"),
                words.interval(c.after, "us"),
                words.change(c.change),
            )
            for c in rows
        ),
    )


def _cohort_loss(cohort: Cohort) -> Iterator[Part]:
    if not cohort.loss:
        yield Para(f"Loss: {words.NOT_MEASURED} on both sides of any node.", Tone.FAINT)
        return
    rows = tuple((c.key, words.share(c.before), words.share(c.after)) for c in cohort.loss)
    yield Table(("packets lost, all nodes", "before", "after"), rows)
    yield Figure((plots.cohort_loss(cohort),), "")


def _hop_table(sides: Sequence[tuple[str, Sequence[Histogram]]]) -> Iterator[Part]:
    rows = tuple(
        (hop.key, side, f"{sum(hop.counts):,}", *(words.bucket_words(hop, permille) for permille in (500, 900, 990)))
        for side, hops in sides
        for hop in hops
    )
    if not rows:
        yield Para(f"Time across the pod's link: {words.NOT_MEASURED}.", Tone.FAINT)
        return
    yield Table(("time across the pod's link", "side", "packets", "p50 in", "p90 in", "p99 in"), rows)


def _tcp_table(sides: Sequence[tuple[str, TcpTotals | None]]) -> Iterator[Part]:
    if all(tcp is None for _, tcp in sides):
        yield Para(f"TCP: {words.NOT_MEASURED}.", Tone.FAINT)
        return
    yield Table(("TCP", *(side for side, _ in sides)), tuple(_tcp_rows([tcp for _, tcp in sides])))


def _tcp_rows(sides: Sequence[TcpTotals | None]) -> Iterator[tuple[str, ...]]:
    def row(name: str, of: Callable[[TcpTotals], str]) -> tuple[str, ...]:
        return name, *(of(tcp) if tcp is not None else words.NOT_MEASURED for tcp in sides)

    yield row("nodes", lambda t: str(t.nodes))
    yield row("connections made", lambda t: f"{t.connects:,}, {t.failures:,} failed")
    yield row("connections per second and node", lambda t: words.per_second(t.rate_milli))
    yield row("connect latency p50 in", lambda t: words.bucket_words(t.connect_us, 500))
    yield row("connect latency p99 in", lambda t: words.bucket_words(t.connect_us, 990))
    yield row("smoothed round trip p50 in", lambda t: words.bucket_words(t.srtt_us, 500))
    yield row(
        "segments sent again",
        lambda t: words.share(t.retransmits) if t.retransmits else f"{words.NOT_MEASURED}: segments are not counted",
    )


# --- notes ---------------------------------------------------------------------------------------------------------


def _notes(report: Report) -> Iterator[Part]:
    yield Heading("Not measured anywhere")
    yield Table(("what", "why"), tuple((m.what, m.why) for m in report.not_measured))
    yield Heading("How to read the figures")
    yield Bullets(
        (
            "Before is the newest baseline, taken before the node was cordoned. After is its verification in the new "
            "mode, or the look at confirm-mode where it never came so far. After the way back: the same in the old "
            "mode.",
            "Intervals are two-sided at 95 %: of a quantile between order statistics, of a share by Wilson's score, of "
            "a rate by Byar's. They show how sure a figure is; what passed or failed is decided by the checks, which "
            "correct for the number of comparisons.",
            "A cohort's interval is over its nodes. With fewer than six nodes it is the range from least to most, and "
            "says so. Loss of a cohort pools the packets of its nodes.",
            "Histograms count by powers of two, so that their percentiles are known only to a bucket.",
            "Not measured never means zero.",
        )
    )
    yield Heading("The same again")
    yield Commands((f"rollout report {report.rollout} --output html --out report.html",))
