"""The README's tables, made from the program's own: `python -m rollout.cli.readme check` or `write`.

Between `<!-- generated:NAME -->` and `<!-- end -->` stands what a function of this module makes. `check` names what is
stale; a test runs it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from rollout.checks.catalog import CHECKS
from rollout.cli.config import KEYS, shown
from rollout.cli.config import load as load_config
from rollout.cli.main import COMMANDS, cli
from rollout.cli.render.words import span
from rollout.domain.errors import ExitCode
from rollout.domain.lifecycle import NODE_DEATH, NodePhase, RolloutPhase, render_mermaid
from rollout.domain.step import STEPS
from rollout.planning.preflight import CATALOGUE

EXIT_CODES: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.INTERNAL: "a bug; its traceback is in the file that was named",
    ExitCode.USAGE: "the command or the configuration cannot be acted on",
    ExitCode.HELD: "held: by a gate, a limit, a person or a pause; `rollout status` says what by",
    ExitCode.REFUSED: "refused: preflight blocks, no valid approval, a stale or used plan, the lease in other hands",
    ExitCode.STEP_FAILED: "ended with failed nodes; a check failed; the cluster or a host said no",
    ExitCode.UNSETTLED: "could not be told; a person has to look",
    ExitCode.INTERRUPTED: "stopped by a signal, or the rollout was aborted",
}

NODE_PHASES: Mapping[NodePhase, str] = {
    NodePhase.PENDING: "not touched yet",
    NodePhase.RUNNING: "on its way; out of service from cordon on",
    NodePhase.HELD: "waits for a person; fenced, nothing is broken",
    NodePhase.RETURNING: "being given back as it was, before its mode was assigned",
    NodePhase.ROLLING_BACK: "being led back to its old mode",
    NodePhase.QUARANTINED: "failed after its mode was assigned; stays fenced, frees its slot",
    NodePhase.DONE: "proven in its new mode, and in service",
    NodePhase.RETURNED: "given back, never changed",
    NodePhase.ROLLED_BACK: "back in its old mode, and in service",
    NodePhase.SKIPPED: "left alone: it failed its recheck or baseline, or the rollout was aborted before its turn",
    NodePhase.LOST: "gone, or another machine bears its name",
    NodePhase.REPLACED: "emptied and deleted by its pool, which puts a new node in its place",
}

ROLLOUT_PHASES: Mapping[RolloutPhase, str] = {
    RolloutPhase.DRAFT: "a saved plan",
    RolloutPhase.APPROVED: "may be applied while an approval stands",
    RolloutPhase.RUNNING: "was started; `rollout status` says whether its process lives",
    RolloutPhase.HELD: "starts nothing; `rollout resume` or `rollout abort`",
    RolloutPhase.ABORTING: "bringing every node to a sound end",
    RolloutPhase.COMPLETED: "every node ended and every gate proceeded",
    RolloutPhase.ABORTED: "ended for good",
}

_AFTER_DEATH = {
    "stable": "nothing was going on",
    "in-flight": "`rollout resume` settles it and goes on",
    "needs-person": "stays as it is",
}


def commands() -> str:
    """Every verb with its one line, groups with their inner verbs."""
    return _table(("command", "what it does"), _commands())


def _commands() -> Iterator[tuple[str, str]]:
    ctx = click.Context(cli)
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(ctx, name)
        if isinstance(command, click.Group):
            for inner in command.list_commands(ctx):
                found = command.get_command(ctx, inner)
                assert found is not None
                yield f"`rollout {name} {inner}`", found.get_short_help_str(200)
        else:
            yield f"`rollout {name}`", line


def exit_codes() -> str:
    """Every exit code."""
    return _table(("code", "meaning"), ((str(int(code)), EXIT_CODES[code]) for code in ExitCode))


def steps() -> str:
    """The step table."""
    rows = (
        (f"`{s.kind.value}`", s.does, s.done_when, span(s.deadline_s), s.settled_by, _undo(s.undo), _rest(s.rest_after))
        for s in STEPS.values()
    )
    headers = (
        "step",
        "what it does",
        "done when",
        "deadline",
        "settled after a crash by",
        "undone by",
        "pause may rest",
    )
    return _table(headers, rows)


def _undo(kind: object) -> str:
    return f"`{getattr(kind, 'value', '')}`" if kind else "-"


def _rest(rests: bool) -> str:
    return "yes" if rests else "no"


def lifecycle() -> str:
    """The two state pictures."""
    return render_mermaid().strip()


def node_phases() -> str:
    """Phases of a node, and what a dead process means in them."""
    rows = ((f"`{p.value}`", NODE_PHASES[p], _AFTER_DEATH[NODE_DEATH[p].value]) for p in NodePhase)
    return _table(("phase", "meaning", "when the process dies"), rows)


def rollout_phases() -> str:
    """Phases of a rollout."""
    return _table(("phase", "meaning"), ((f"`{p.value}`", ROLLOUT_PHASES[p]) for p in RolloutPhase))


def preflight() -> str:
    """The preflight catalogue."""
    rows = (
        (
            f"`{row.id}`",
            row.claim,
            {"info": "tells", "warn": "warns"}.get(row.severity, "blocks"),
            "node" if row.per_node else "cluster",
            "netkit" if row.netkit_only else "any",
            row.remedy,
            row.source,
        )
        for row in CATALOGUE
    )
    return _table(("rule", "claim", "else", "of", "target", "remedy", "source"), rows)


def checks() -> str:
    """The checks of a proof."""
    return _table(("check", "claim"), ((f"`{name}`", claim) for name, claim in CHECKS.items()))


def config() -> str:
    """Every configuration key with its default."""
    values = {key: value for key, value, _ in shown(load_config(Path("/dev/null"), {}, {}))}
    return _table(
        ("key", "default", "what it says"), ((f"`{key}`", _default(key, values[key]), KEYS[key]) for key in KEYS)
    )


_OF_THE_USER = {
    "state": "`netkit-rollout/state.db` in the XDG state folder",
    "run_dir": "`netkit-rollout/runs` in the XDG state folder",
    "ssh.known_hosts": "`~/.ssh/known_hosts`",
}


def _default(key: str, value: object) -> str:
    if key in _OF_THE_USER:
        return _OF_THE_USER[key]
    if value in (None, [], {}):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table(headers: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [_row(headers), "|" + " --- |" * len(headers), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


SECTIONS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "exit-codes": exit_codes,
    "steps": steps,
    "lifecycle": lifecycle,
    "node-phases": node_phases,
    "rollout-phases": rollout_phases,
    "preflight": preflight,
    "checks": checks,
    "config": config,
}

_MARKED = re.compile(r"<!-- generated:([a-z-]+) -->\n.*?<!-- end -->", re.S)


def filled(text: str) -> str:
    """The README with every generated part as it should be. Raises KeyError for a name nobody makes."""
    return _MARKED.sub(lambda m: f"<!-- generated:{m[1]} -->\n{SECTIONS[m[1]]()}\n<!-- end -->", text)


def faults(text: str) -> list[str]:
    """What is missing or stale; empty when all is well."""
    there = {m[1]: m[0] for m in _MARKED.finditer(text)}
    missing = [f"the part {name} is missing" for name in SECTIONS if name not in there]
    fresh = {m[1]: m[0] for m in _MARKED.finditer(filled(text))}
    return missing + [f"the part {name} is stale" for name in there if there[name] != fresh[name]]


def main(arguments: Sequence[str]) -> int:
    """`check` or `write`, and the README's path."""
    if len(arguments) not in (1, 2) or arguments[0] not in ("check", "write"):
        click.echo("usage: python -m rollout.cli.readme check|write [README.md]", err=True)
        return ExitCode.USAGE
    path = Path(arguments[1] if len(arguments) > 1 else "README.md")
    text = path.read_text(encoding="utf-8")
    if arguments[0] == "write":
        path.write_text(filled(text), encoding="utf-8")
        return ExitCode.DONE
    found = faults(text)
    for fault in found:
        click.echo(f"{path}: {fault}; run: python -m rollout.cli.readme write", err=True)
    return ExitCode.REFUSED if found else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
