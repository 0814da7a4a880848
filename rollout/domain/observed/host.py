"""A node's own set-up, as the probe `host` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollout.domain.inventory import Observation
from rollout.domain.observed.loose import Row, count, document, row, rows, text, texts


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """A rule of `ip rule`; texts are empty where it does not look at them."""

    family: int
    priority: int
    table: int
    source: str = ""
    destination: str = ""
    mark: str = ""
    enters_by: str = ""
    leaves_by: str = ""
    action: str = ""
    """The kernel's number for anything but a look-up in `table`."""

    def __str__(self) -> str:
        told = (
            ("from", self.source or "all"),
            ("to", self.destination),
            ("fwmark", self.mark),
            ("iif", self.enters_by),
            ("oif", self.leaves_by),
            ("action", self.action),
        )
        words = " ".join(f"{key} {value}" for key, value in told if value)
        return f"{self.priority}: {words}" + ("" if self.action else f" lookup {self.table}")


@dataclass(frozen=True, slots=True)
class CniFile:
    """A CNI configuration file with the plugins it names, in order; `error` when it cannot be read."""

    file: str
    name: str = ""
    plugins: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """Loaded eBPF programs of one kind and name, and how many there are."""

    kind: str
    name: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card, or another link that bears an XDP program."""

    name: str
    up: bool = False
    default: bool = False
    """A default route leaves by it."""
    driver: str = ""
    xdp: str = ""
    """Name of the XDP program on it."""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class HostState:
    """What was read. None in a field: it could not be, and `unread` says why."""

    rules: tuple[RoutingRule, ...] | None = None
    cni: tuple[CniFile, ...] | None = None
    kernel_config: Mapping[str, str] | None = None
    programs: tuple[LoadedProgram, ...] | None = None
    nics: tuple[Nic, ...] | None = None
    iptables_targets: tuple[str, ...] | None = None
    iproute2: str = ""
    uptime_s: int = 0
    unread: Mapping[str, str] = field(default_factory=dict)

    def why_not(self, part: str) -> str:
        """Why a part is not there."""
        return self.unread.get(part) or "the node did not tell it"


def parse_host(observation: Observation | None) -> HostState | None:
    """The node's set-up, None when there is no readable document."""
    found = document(observation)
    if found is None:
        return None
    return HostState(
        rules=tuple(_rule(each) for each in rows(found["rules"])) if _is_list(found, "rules") else None,
        cni=tuple(_cni(each) for each in rows(found["cni"])) if _is_list(found, "cni") else None,
        kernel_config=_texts_by_name(found["kernel_config"]) if "kernel_config" in found else None,
        programs=tuple(_program(each) for each in rows(found["programs"])) if _is_list(found, "programs") else None,
        nics=tuple(_nic(each) for each in rows(found["nics"])) if _is_list(found, "nics") else None,
        iptables_targets=texts(found["iptables_targets"]) if _is_list(found, "iptables_targets") else None,
        iproute2=text(found.get("iproute2")),
        uptime_s=count(found.get("uptime_s")),
        unread={text(each.get("name")): text(each.get("why")) for each in rows(found.get("unread"))},
    )


def _is_list(found: Row, key: str) -> bool:
    return isinstance(found.get(key), list | tuple)


def _texts_by_name(value: object) -> dict[str, str]:
    return {str(key): text(each) for key, each in row(value).items()}


def _rule(each: Row) -> RoutingRule:
    return RoutingRule(
        family=count(each.get("family")),
        priority=count(each.get("priority")),
        table=count(each.get("table")),
        source=text(each.get("from")),
        destination=text(each.get("to")),
        mark=text(each.get("mark")),
        enters_by=text(each.get("iif")),
        leaves_by=text(each.get("oif")),
        action=text(each.get("action")),
    )


def _cni(each: Row) -> CniFile:
    return CniFile(text(each.get("file")), text(each.get("name")), texts(each.get("plugins")), text(each.get("error")))


def _program(each: Row) -> LoadedProgram:
    return LoadedProgram(text(each.get("kind")), text(each.get("name")), count(each.get("count")) or 1)


def _nic(each: Row) -> Nic:
    return Nic(
        text(each.get("name")),
        each.get("up") is True,
        each.get("default") is True,
        text(each.get("driver")),
        text(each.get("xdp")),
        text(each.get("kind")),
    )
