"""Who approved, whether it counts, and what is missing: for every page that says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout.cli.render.blocks import Block, Para, Table, Tone
from rollout.cli.render.words import count, moment
from rollout.domain.approval import Approval
from rollout.domain.codec import to_plain
from rollout.domain.consent import Consent


def approval_rows(approval: Approval) -> tuple[tuple[str, str], ...]:
    """One approval, as names and values."""
    return (
        ("by", approval.by),
        ("ticket", approval.ticket),
        ("at", moment(approval.at)),
        ("valid until", moment(approval.expires)),
    )


def consent_rows(consent: Consent) -> tuple[tuple[str, str], ...]:
    """A plan's approvals at a glance, as names and values."""
    rows = [("approved by", _counted(consent) or "nobody"), ("missing", missing_words(consent))]
    rows += [("does not count", f"{d.approval.by}: {d.why}") for d in consent.discounted]
    return tuple((name, value) for name, value in rows if value)


def _counted(consent: Consent) -> str:
    return ", ".join(f"{a.by} ({_signed(consent, a)}, for {a.ticket})" for a in consent.counted)


def _signed(consent: Consent, approval: Approval) -> str:
    if approval.by in consent.keys:
        return f"signed with {consent.keys[approval.by]}"
    return "signature not checked" if approval.signature else "not signed"


def missing_words(consent: Consent) -> str:
    """What is missing, and who can give it; empty when nothing is."""
    if not consent.missing:
        return ""
    words = count(consent.missing, "approval") + (", signed" if consent.signed else "")
    if consent.impossible:
        return f"{words}; {consent.impossible}"
    if consent.able:
        return f"{words}; who still can: {', '.join(consent.able)}"
    return f"{words}, not by {consent.excluded}, who made the plan" if consent.excluded else words


def consent_blocks(consent: Consent) -> Iterator[Block]:
    """All approvals of a plan as a table, then what is missing. No heading."""
    if not consent.counted and not consent.discounted:
        yield Para("nobody has approved it")
    else:
        lost = {d.approval: d.why for d in consent.discounted}
        all_of_them = sorted((*consent.counted, *lost), key=lambda a: (a.at, a.by))
        yield Table(
            ("by", "ticket", "at", "valid until", "signature", "counts"),
            tuple(_table_row(consent, a, lost.get(a, "")) for a in all_of_them),
            tuple(Tone.CARE if a in lost else Tone.GOOD for a in all_of_them),
        )
    missing = missing_words(consent)
    yield Para(f"missing: {missing}" if missing else "nothing is missing", Tone.CARE if missing else Tone.GOOD)


def _table_row(consent: Consent, approval: Approval, lost: str) -> tuple[str, ...]:
    return (
        approval.by,
        approval.ticket,
        moment(approval.at),
        moment(approval.expires),
        "" if lost else _signed(consent, approval),
        f"no: {lost}" if lost else "yes",
    )


def consent_values(consent: Consent) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    return {
        "needed": consent.needed,
        "missing": consent.missing,
        "signed": consent.signed,
        "counted": [{**to_plain(a), "key": consent.keys.get(a.by, "")} for a in consent.counted],
        "discounted": [{**to_plain(d.approval), "why": d.why} for d in consent.discounted],
        "able": list(consent.able),
        "impossible": consent.impossible,
    }
