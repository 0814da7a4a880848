"""How a benchmark says what it found. Nothing here fails: machines are noisy, people judge."""

from __future__ import annotations

import sys


def report(what: str, found: float, budget: float, unit: str = "x") -> None:
    """One line: the figure, its budget, and whether it is within."""
    verdict = "within" if found <= budget else "OVER"
    sys.stdout.write(f"\n{what}: {found:.2f} {unit}, budget {budget:g} {unit}: {verdict}\n")
