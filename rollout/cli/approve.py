"""approve."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from rollout.app import approve as use_case
from rollout.app.apply import reference_of_document
from rollout.app.world import World
from rollout.cli.options import DURATION, journal_options, output_option
from rollout.cli.render.approvals import approval_rows, consent_rows, consent_values
from rollout.cli.render.blocks import Block, Commands, Heading, Page, Pairs
from rollout.cli.session import Session, as_file, emit, note, read_document, with_session
from rollout.cli.wiring import Reach
from rollout.domain.approval import NAMESPACE, Approval
from rollout.domain.codec import to_plain
from rollout.domain.consent import Consent
from rollout.domain.errors import UsageError
from rollout.ports.signatures import AGENT, SIGNATURE_LIMIT

_DAY_S = 86400


class MomentType(click.ParamType[datetime]):
    """2026-12-01T08:00:00Z: a time with its offset, to the second."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """In UTC."""
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-12-01T08:00:00Z", param, ctx)
        if found.tzinfo is None or found.microsecond:
            self.fail(f"{value!r} says not its offset (Z for UTC), or is finer than a second", param, ctx)
        return found.astimezone(UTC)


@click.command()
@click.argument("plan")
@click.option("--by", required=True, metavar="NAME", help="Who approves.")
@click.option("--ticket", metavar="ID", help="The change record.")
@click.option("--valid", type=DURATION, help="How long the approval stands; 24h unless --expires is given.")
@click.option("--expires", type=MomentType(), help="Until when it stands instead, e.g. 2026-12-01T08:00:00Z.")
@click.option("--sign", is_flag=True, help="Sign it with an SSH key of yours.")
@click.option("--key", metavar="FILE|agent", help="The key to sign with; the SSH agent's unless named.")
@click.option("--statement", is_flag=True, help="Only print what has to be signed, to sign it elsewhere.")
@click.option("--signature", type=click.Path(path_type=Path), help="A signature made elsewhere over --statement.")
@click.option("--revoke", is_flag=True, help="Withdraw the approval by NAME, while the plan is not used yet.")
@click.option("--reason", default="", help="Why it is withdrawn.")
@output_option("text", "json")
@journal_options
@with_session
def approve(
    session: Session,
    /,
    plan: str,
    by: str,
    ticket: str | None,
    valid: int | None,
    expires: datetime | None,
    sign: bool,
    key: str | None,
    statement: bool,
    signature: Path | None,
    revoke: bool,
    reason: str,
    output: str,
) -> None:
    """Record a person's consent to exactly this plan: a file, an id or a digest's prefix.

    The approval is of the plan's digest. Another plan, even of the same nodes, needs its own. Whether it has to be
    signed, and how many people have to approve, say the plan's policy and the configuration, whichever asks for more.

    \b
    Example:
      rollout approve plan.json --by ann --ticket CHG-1042 --valid 8h
      rollout approve plan.json --by ann --ticket CHG-1042 --sign
      rollout approve plan.json --by ann --ticket CHG-1042 --valid 8h --statement > approval
      ssh-keygen -Y sign -n netkit-rollout-plan@v1 -f ~/.ssh/id_ed25519 approval
      rollout approve plan.json --by ann --ticket CHG-1042 --expires 2026-12-01T08:00:00Z --signature approval.sig
      rollout approve plan.json --by ann --revoke --reason "wrong window"
    """
    _require_together(ticket, valid, expires, sign, key, statement, signature, revoke, reason)
    with session.world(Reach.JOURNAL) as world:
        reference = reference_of(world, plan)
        if revoke:
            _shown(output, None, use_case.withdraw(world, reference, by=by, reason=reason))
            return
        assert ticket is not None
        span = timedelta(seconds=_DAY_S if valid is None else valid)
        until = expires or (world.clock.now() + span).replace(microsecond=0)
        asked = use_case.statement_of(world, reference, by=by, ticket=ticket, expires=until)
        if statement:
            _print_statement(asked)
            return
        if sign:
            note(f"signing as {by}: {asked.statement().decode().strip()}")
        approval = use_case.approve(
            world,
            reference,
            by=by,
            ticket=ticket,
            expires=until,
            signature=_read(signature) if signature else "",
            key=(key or AGENT) if sign else "",
        )
        _shown(output, approval, use_case.consent_of(world, reference))


def _require_together(
    ticket: str | None,
    valid: int | None,
    expires: datetime | None,
    sign: bool,
    key: str | None,
    statement: bool,
    signature: Path | None,
    revoke: bool,
    reason: str,
) -> None:
    """Raises `UsageError` for options that make no sense together, before anything is read."""
    for wrong, why in (
        (revoke and any((ticket, valid, expires, sign, key, statement, signature)), "--revoke takes --by and --reason"),
        (not revoke and ticket is None, "--ticket is needed: the change record it belongs to"),
        (bool(reason) and not revoke, "--reason goes with --revoke"),
        (valid is not None and expires is not None, "--valid and --expires say the same thing twice"),
        (key is not None and not sign, "--key goes with --sign"),
        (sum((sign, statement, signature is not None)) > 1, "one of --sign, --statement and --signature at a time"),
        (
            signature is not None and expires is None,
            "--signature needs --expires, with the very time that was signed",
        ),
    ):
        if wrong:
            raise UsageError("approval-incomplete", f"cannot approve: {why}", hint="see: rollout approve --help")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            text = stream.read(SIGNATURE_LIMIT + 1)
        if len(text) > SIGNATURE_LIMIT:
            raise UsageError("signature-file", f"cannot read the signature {path}: it is too long for one")
        return text.decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a signature's text"
        raise UsageError(
            "signature-file", f"cannot read the signature {path}: {why}", hint="name the file ssh-keygen -Y sign wrote"
        ) from error


def _print_statement(asked: Approval) -> None:
    note(f"to sign it: ssh-keygen -Y sign -n {NAMESPACE} -f KEY FILE, FILE holding exactly what is on standard output")
    note(f"then: the same command with --signature FILE.sig, and --expires {asked.expires.isoformat()}")
    click.echo(asked.statement(), nl=False)


def _shown(output: str, approval: Approval | None, consent: Consent) -> None:
    values = consent_values(consent)
    if approval is not None:
        values = {**values, **to_plain(approval)}
    emit(output, _page(approval, consent), values)


def _page(approval: Approval | None, consent: Consent) -> Page:
    title = "Approved" if approval else "Approval withdrawn"
    page: list[Block] = [Heading(f"{title}: plan {consent.digest[:12]}", 1)]
    page.append(
        Pairs((("digest", consent.digest), *(approval_rows(approval) if approval else ()), *consent_rows(consent)))
    )
    command = f"rollout approve {consent.digest[:12]} --by NAME --ticket ID" + (" --sign" if consent.signed else "")
    if not consent.missing:
        command = f"rollout apply {consent.digest[:12]}"
    return [*page, Heading("Next"), Commands((command,))]


def reference_of(world: World, plan: str) -> str:
    """The id of the plan that a file or reference names."""
    file = as_file(plan)
    return reference_of_document(world, read_document(file)) if file else plan
