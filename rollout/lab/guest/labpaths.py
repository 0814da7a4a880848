"""Where the guest's programs keep their files.

Everything lies below LAB_ROOT (empty in a guest), so that a test on an ordinary host uses a directory of its own.
"""

import os
from pathlib import Path


def at(path: str) -> Path:
    """The place of an absolute guest path under the root in force."""
    return Path(os.environ.get("LAB_ROOT", "") + path)


def etc() -> Path:
    return at("/etc/lab")


def pods() -> Path:
    """One directory per pod uid: gone after a reboot, kept over a restart of the kubelet stand-in."""
    return at("/run/lab/pods")


def runtime_socket() -> Path:
    return at("/run/lab/runtime.sock")


def netns() -> Path:
    return at("/var/run/netns")


def cilium_run() -> Path:
    return at("/var/run/cilium")


def agent_socket() -> Path:
    return cilium_run() / "cilium.sock"


def endpoint_state() -> Path:
    return cilium_run() / "state"


def delete_queue() -> Path:
    return cilium_run() / "deleteQueue"


def bpf() -> Path:
    return at("/sys/fs/bpf")


def pinned_links(endpoint_id: int) -> Path:
    """Where the agent pins an endpoint's programs, so that they outlive it."""
    return bpf() / "cilium" / "endpoints" / str(endpoint_id) / "links"


def pinned_faults(endpoint_id: int) -> Path:
    """Where programs are pinned that play a fault on an endpoint's link."""
    return bpf() / "cilium" / "endpoints" / str(endpoint_id) / "faults"


def pinned_device(name: str) -> Path:
    """Where the agent pins the programs of a link that is no pod's."""
    return bpf() / "cilium" / "devices" / name / "links"


def faults() -> Path:
    """One file per fault that is asked of this node."""
    return etc() / "faults"


def cni_config() -> Path:
    return at("/etc/cni/net.d/05-cilium.conflist")
