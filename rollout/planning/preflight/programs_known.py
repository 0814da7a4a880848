"""Programs that watch or steer nodes with eBPF, and what the switch means for each.

`source` says where it was read; without one it is general knowledge that nobody tried for this program. Tools that hook
system calls, kernel functions, LSM or cgroups do not care about the kind of a pod's link; tools that attach to links,
or find pods' links by kind or name, do. Findings speak of what to look at, never of what was proven.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from rollout.domain.node import DaemonSet


@dataclass(frozen=True, slots=True)
class Known:
    """A program that is recognised by its DaemonSet."""

    title: str
    means: str
    """What it does, as far as the switch is concerned."""
    names: tuple[str, ...] = ()
    """Names of its DaemonSet."""
    images: tuple[str, ...] = ()
    """Parts of its images' names."""
    touches_links: bool = False
    """It attaches to pods' links, or finds them by kind or name."""
    source: str = ""


K = TypeVar("K", bound=Known)


def recognise(daemonset: DaemonSet, known: Iterable[K]) -> K | None:
    """The first of `known` that this DaemonSet is; by its name, else by one of its images."""
    rows = tuple(known)
    for one in rows:
        if daemonset.name in one.names:
            return one
    return next((one for one in rows if any(part in image for part in one.images for image in daemonset.images)), None)


_UNHARMED = "hooks system calls, kernel functions or LSM, which do not depend on the kind of a pod's link"

EBPF_USERS: tuple[Known, ...] = (
    Known("Tetragon", _UNHARMED, ("tetragon",), ("cilium/tetragon",)),
    Known("Pixie", "hooks sockets and user-space functions, not links", ("vizier-pem",), ("vizier-pem",)),
    Known("Kepler", "hooks scheduler and performance events, not links", ("kepler",), ("kepler",)),
    Known("KubeArmor", "enforces through LSM, not links", ("kubearmor",), ("kubearmor/kubearmor",)),
    Known("Falco", _UNHARMED, ("falco",), ("falcosecurity/falco",)),
    Known("Tracee", _UNHARMED, ("tracee",), ("aquasec/tracee",)),
    Known("Parca", "samples stacks, not links", ("parca-agent",), ("parca-agent",)),
    Known("Pyroscope", "samples stacks, not links", ("pyroscope-ebpf",), ("grafana/pyroscope",)),
    Known("Coroot", "hooks sockets, not links", ("coroot-node-agent",), ("coroot-node-agent",)),
    Known(
        "Datadog agent",
        "may attach tc programs to pods' links that it finds by the kernel's veth functions (runtime security's "
        "network events); netkit links are not made by those",
        ("datadog", "datadog-agent"), ("datadog/agent", "datadoghq/agent"), touches_links=True,
    ),
    Known(
        "bpfman", "loads tc, TCX and XDP programs onto the links its resources name; one that names pods' links has to "
        "be attached anew, and TCX programs on a netkit primary run at another place than on veth",
        ("bpfman-daemon", "bpfman"), ("bpfman/bpfman",), touches_links=True,
    ),
    Known(
        "Inspektor Gadget", "some gadgets attach to pods' links when they start; start those again after the switch",
        ("gadget",), ("inspektor-gadget",), touches_links=True,
    ),
    Known(
        "Beyla / OpenTelemetry eBPF", "may attach tc programs to links to pass trace contexts on",
        ("beyla", "obi"), ("grafana/beyla", "opentelemetry-ebpf-instrumentation"), touches_links=True,
        source="Beyla's page on Cilium compatibility",
    ),
    Known(
        "NetObserv", "attaches tc or TCX programs to every link; knows netkit links since 2026-04 only",
        ("netobserv-ebpf-agent",), ("netobserv-ebpf-agent",), touches_links=True, source="netobserv-ebpf-agent 888",
    ),
    Known(
        "Retina", "its packet parser attaches tc programs to pods' veth links",
        ("retina-agent",), ("microsoft/retina", "retina-agent"), touches_links=True,
        source="retina pkg/plugin/packetparser",
    ),
    Known(
        "DeepFlow", "captures packets on links that it finds by name; netkit links have no hardware address in L3 mode",
        ("deepflow-agent",), ("deepflow-agent",), touches_links=True,
    ),
    Known(
        "Kubeshark", "attaches tc programs to links as pods come, and reads packets with a hardware address in front",
        ("kubeshark-worker-daemon-set",), ("kubeshark/worker",), touches_links=True, source="kubeshark/tracer 52",
    ),
    Known(
        "Merbridge", "redirects mesh traffic between sockets, by programs of its own on pods' links and sockets",
        ("merbridge",), ("merbridge/merbridge",), touches_links=True,
    ),
    Known(
        "Netdata", _UNHARMED, ("netdata-child",), ("netdata/netdata",),
    ),
)  # fmt: skip

CILIUM_PROGRAM = ("cil_", "tail_", "handle_policy", "__send_drop_no")
"""How names of Cilium's own programs begin."""

SYSTEM_PROGRAM = ("sd_", "dump_bpf_", "hid_tail_call")
"""How names of programs begin that systemd, container runtimes and the kernel itself load."""

ON_LINKS = frozenset({"sched_cls", "sched_act", "xdp", "lwt_in", "lwt_out", "lwt_xmit"})
"""Kinds of programs that are attached to links or routes."""
