"""Resource quantities, and the requests of a pod. Amounts are whole thousandths: a tenth of a core has no float."""

from fractions import Fraction
from functools import lru_cache
from math import ceil

from rollout.lab.apiserver.objects import Obj

_SUFFIXES = {
    **{f"{letter}i": Fraction(2) ** (10 * power) for power, letter in enumerate("KMGTPE", start=1)},
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12),
    "P": Fraction(10**15), "E": Fraction(10**18),
}  # fmt: skip


@lru_cache(maxsize=4096)
def parse_quantity(text: str | int | float) -> int:
    """`100m`, `2Gi`, `1e3`, 4: in thousandths, rounded up. What cannot be read counts as nothing."""
    words = str(text)
    for suffix in (words[-2:], words[-1:]):
        if suffix in _SUFFIXES and words[: -len(suffix)]:
            return ceil(_number(words[: -len(suffix)]) * _SUFFIXES[suffix] * 1000)
    return ceil(_number(words) * 1000)


def _number(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def pod_requests(pod: Obj) -> dict[str, int]:
    """What the scheduler sets aside: the sum over containers, or the largest init container if that is more."""
    total: dict[str, int] = {}
    for container in pod["spec"].get("containers") or ():
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0) + amount
    for container in pod["spec"].get("initContainers") or ():
        sidecar = container.get("restartPolicy") == "Always"
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0) + amount if sidecar else max(total.get(name, 0), amount)
    total["pods"] = 1000
    return total


def _requests(container: Obj) -> dict[str, int]:
    resources = container.get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: parse_quantity(amount) for name, amount in amounts.items()}


def allocatable(node: Obj) -> dict[str, int]:
    status = node.get("status") or {}
    amounts = status.get("allocatable") or status.get("capacity") or {}
    return {name: parse_quantity(amount) for name, amount in amounts.items()}


def scaled(value: int | str | None, total: int, *, round_up: bool) -> int:
    """An int-or-percent of a total."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total
    return -(-share // 100) if round_up else share // 100
