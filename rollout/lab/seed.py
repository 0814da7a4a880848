"""The seed of a machine: what makes a restored guest one node of the lab."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollout.lab.layout import TIME_SCALE
from rollout.lab.network import GATEWAY, machine_address, machine_mac, pod_cidr

GUEST = Path(__file__).parent / "guest"


def node_document(name: str, index: int, count: int) -> dict[str, Any]:
    """node.json of machine `index` of `count`: for the guest's own set-up and for its kubelet stand-in."""
    others = [i for i in range(1, count + 1) if i != index]
    return {
        "name": name,
        "index": index,
        "address": f"{machine_address(index)}/24",
        "mac": machine_mac(index),
        "gateway": GATEWAY,
        "routes": [{"to": pod_cidr(i), "via": machine_address(i)} for i in others],
        "hosts": {f"n{i}": machine_address(i) for i in range(1, count + 1)},
        "pod_cidr": pod_cidr(index),
        "api": f"https://{GATEWAY}:6443",
        "time_scale": TIME_SCALE,
        "labels": {},
        "zone": f"zone-{'abc'[index % 3]}",
    }


def make_seed(node: Mapping[str, Any], ca: bytes, token: str) -> bytes:
    """The seed tar: node.json, the API's certificate and token, and the guest programs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "etc/lab/node.json", json.dumps(node, indent=2).encode())
        _add(archive, "etc/lab/ca.crt", ca)
        _add(archive, "etc/lab/token", token.encode(), mode=0o600)
        for file in sorted(GUEST.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                _add(archive, f"opt/lab/{file.relative_to(GUEST)}", file.read_bytes())
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))
