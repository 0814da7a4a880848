"""Seeds for test machines."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping

from rollout.lab.network import GATEWAY, machine_address, machine_mac, pod_cidr

SLEEPER = b"import time\nprint('node up', flush=True)\ntime.sleep(1e6)\n"


def pack(files: Mapping[str, bytes]) -> bytes:
    """A plain tar of `files` (path to contents)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(contents), 0o644
            archive.addfile(member, io.BytesIO(contents))
    return packed.getvalue()


def describe_node(index: int, other: int) -> dict[str, object]:
    """node.json of machine `index`, with a route to the pods of machine `other`."""
    return {
        "name": f"node-{index}",
        "index": index,
        "address": f"{machine_address(index)}/24",
        "mac": machine_mac(index),
        "pod_cidr": pod_cidr(index),
        "gateway": GATEWAY,
        "routes": [{"to": pod_cidr(other), "via": machine_address(other)}],
    }


def node_seed(index: int, other: int) -> bytes:
    """A seed whose service only sleeps."""
    return pack({"etc/lab/node.json": json.dumps(describe_node(index, other)).encode(), "opt/lab/node.py": SLEEPER})
