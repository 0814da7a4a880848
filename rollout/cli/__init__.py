"""The command line: verbs parse, call one use case, render, exit.

Rules of this floor: only `wiring` imports adapters; data goes to stdout, progress and errors to stderr; every exit code
is one of `rollout.domain.errors.ExitCode`; nothing here decides anything about a rollout. Command modules are loaded
when
their verb is called (`main.COMMANDS`), so that `rollout --help` stays fast.
"""
