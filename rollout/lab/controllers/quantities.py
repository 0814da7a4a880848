"""Resource quantities, and the requests of a pod."""

from functools import lru_cache

from rollout.lab.apiserver.objects import Obj

_SUFFIXES = {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
}  # fmt: skip


@lru_cache(maxsize=4096)
def parse_quantity(text: str | int | float) -> float:
    """`100m`, `2Gi`, `1e3`, 4. What cannot be read counts as nothing."""
    if isinstance(text, int | float):
        return float(text)
    for suffix in (text[-2:], text[-1:]):
        if suffix in _SUFFIXES and text[: -len(suffix)]:
            try:
                return float(text[: -len(suffix)]) * _SUFFIXES[suffix]
            except ValueError:
                continue
    try:
        return float(text)
    except ValueError:
        return 0.0


def pod_requests(pod: Obj) -> dict[str, float]:
    """What the scheduler sets aside: the sum over containers, or the largest init container if that is more."""
    total: dict[str, float] = {}
    for container in pod["spec"].get("containers") or ():
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0.0) + amount
    for container in pod["spec"].get("initContainers") or ():
        sidecar = container.get("restartPolicy") == "Always"
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0.0) + amount if sidecar else max(total.get(name, 0.0), amount)
    total["pods"] = 1.0
    return total


def _requests(container: Obj) -> dict[str, float]:
    resources = container.get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: parse_quantity(amount) for name, amount in amounts.items()}


def allocatable(node: Obj) -> dict[str, float]:
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
