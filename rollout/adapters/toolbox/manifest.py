"""The toolbox pod.

What it is given, and why:
- privileged, hostPID and hostNetwork: probes read the node's links and sockets, enter the network namespaces of its
  pods (found under /run/netns and by /proc/*/ns/net) and load eBPF programs;
- /sys/kernel for tracefs, debugfs and BTF; /sys/fs/bpf for pinned objects; /run/netns for named namespaces; the folder
  of the agent's socket. Mounts made on the node later show up (HostToContainer), none made in the pod shows there;
- nothing of the API: no service account token.
Not given: the node's root file system, /lib/modules and /usr/src (the image has headers that fit every kernel).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rollout.adapters.ansible.bundle import bundle
from rollout.adapters.toolbox.port import LABEL_TOOLBOX
from rollout.domain.errors import StepFailed, UsageError
from rollout.domain.node import is_object_name

PROGRAM = "observe"
CONTAINER = "observe"
AGENT_SOCKET = "/var/run/cilium/cilium.sock"
ANNOTATION_BY = "netkit-rollout.io/by"
LOADER = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(''.join(sys.argv[1:]))))"
"""Runs a packed program text. Python reads it from the command line, so that the pod needs no volume of ours."""

LARGEST_ARGUMENT = 128 * 1024 - 1
"""Bytes of one argument that Linux takes, without its final zero: MAX_ARG_STRLEN, 32 pages (execve(2))."""

PIECE = 96 * 1024
LARGEST_PACK = 1024 * 1024
"""Bytes of all pieces: an object of the API may have 1.5 MiB (etcd), a program's arguments 2 MiB (execve(2))."""

_MARGIN_S = 15
"""The program's own alarm comes first: it lets the kubelet see an exit code instead of a killed pod."""
_MANAGED_BY = {"app.kubernetes.io/managed-by": "netkit-rollout"}


@dataclass(frozen=True, slots=True)
class ToolboxSettings:
    """How pods are made. `check` says whether they can be made at all."""

    image: str
    pull_secret: str | None = None
    agent_socket: str = AGENT_SOCKET
    by: str = ""
    """Who runs this, for people who find the pod."""

    def check(self) -> None:
        """Raise `UsageError` for the first setting that cannot be used."""
        if not self.image or any(c.isspace() for c in self.image):
            raise UsageError(
                "toolbox-image-missing",
                "cannot observe by toolbox pods: toolbox.image names no image",
                hint="build toolbox/Dockerfile, push it where the nodes can pull it, and set toolbox.image",
            )
        if self.pull_secret is not None and not is_object_name(self.pull_secret):
            text = f"cannot observe by toolbox pods: toolbox.pull_secret: {self.pull_secret!r} is not a Secret's name"
            raise UsageError("toolbox-secret-name", text, hint="name an existing Secret in toolbox.namespace")


def packed(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The program text with its request, as arguments. Raises `StepFailed` when they are too large for a pod."""
    text = base64.b64encode(zlib.compress(bundle(PROGRAM, request).encode(), 9)).decode("ascii")
    if len(text) > LARGEST_PACK:
        raise StepFailed(
            "toolbox-too-large",
            f"cannot put program and request into a pod: packed they are {len(text)} bytes, and a pod takes"
            f" {LARGEST_PACK} (the request alone is {len(json.dumps(request))} bytes unpacked)",
            hint="ask for fewer pairs (policy.probes), or set observer: ssh, which has no such limit",
        )
    return tuple(text[start : start + PIECE] for start in range(0, len(text), PIECE))


def manifest(
    settings: ToolboxSettings, run: str, name: str, node: str, request: Mapping[str, Any], left_s: int
) -> dict[str, Any]:
    """The pod that runs the probes of `request` on `node` and ends in at most `left_s` seconds and a little."""
    volumes = _volumes(settings)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**_MANAGED_BY, LABEL_TOOLBOX: run},
            "annotations": {ANNOTATION_BY: settings.by},
        },
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "hostPID": True,
            "dnsPolicy": "Default",
            "restartPolicy": "Never",
            "activeDeadlineSeconds": left_s + _MARGIN_S,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            **({"imagePullSecrets": [{"name": settings.pull_secret}]} if settings.pull_secret else {}),
            "containers": [
                {
                    "name": CONTAINER,
                    "image": settings.image,
                    "command": ["python3", "-I", "-c", LOADER, *packed({**request, "limit_s": left_s})],
                    "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0},
                    "volumeMounts": [
                        {"name": volume, "mountPath": path, "mountPropagation": "HostToContainer"}
                        for volume, (path, _) in volumes.items()
                    ],
                }
            ],
            "volumes": [
                {"name": volume, "hostPath": {"path": path, "type": kind}} for volume, (path, kind) in volumes.items()
            ],
        },
    }


def _volumes(settings: ToolboxSettings) -> dict[str, tuple[str, str]]:
    """Volume name to path and kind. The last two are made by ip(8) and the agent when first needed: maybe not yet."""
    socket = PurePosixPath(settings.agent_socket or AGENT_SOCKET)
    return {
        "kernel": ("/sys/kernel", "Directory"),
        "bpf": ("/sys/fs/bpf", "Directory"),
        "netns": ("/run/netns", "DirectoryOrCreate"),
        "agent": (str(socket.parent), "DirectoryOrCreate"),
    }
