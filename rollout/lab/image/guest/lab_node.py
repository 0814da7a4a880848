"""Makes a lab guest the node that its seed describes: `lab-node configure|boot|stop|status`.

Runs inside the guest with its own Python, without site-packages; /usr/local/sbin/lab-node starts it. The seed is the
second disk (/dev/vdb): a plain tar, extracted at /, holding etc/lab/node.json and opt/lab/node.py.
`configure` may be repeated: it takes the node down and builds it up again. `boot` is `configure` for a cold start: it
does nothing when there is no seed.

node.json: name, address ("192.168.77.11/24"), mac; optional: gateway, routes ([{"to": CIDR, "via": IP}]),
hosts ({name: IP}). Other fields are for node.py.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

SEED_DISK = Path("/dev/vdb")
ROOT = Path("/")
NODE_FILE = Path("/etc/lab/node.json")
SERVICE_LOG = Path("/var/log/lab-node.log")
CONFIGURED_FILE = Path("/run/lab/configured")
SUPERVISOR_PID = Path("/run/lab/supervisor.pid")
DATA_LINK = "eth1"
# From linux/fs.h and linux/random.h; Python has no names for them.
BLKFLSBUF = 0x1261
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
TAR_MAGIC = slice(257, 262)


class NodeFault(Exception):
    """The guest cannot become its node; the message says what failed, on what, and what to look at."""


def flush_seed() -> None:
    """Forget the blocks of the seed disk: a restored guest may have cached those of the template's disk."""
    with SEED_DISK.open("rb") as disk:
        fcntl.ioctl(disk, BLKFLSBUF)


def has_seed(first_block: bytes) -> bool:
    """True if the first 512 bytes of a disk start a tar archive."""
    return first_block[TAR_MAGIC] == b"ustar"


def seed_present() -> bool:
    """True if the seed disk exists and holds a tar archive."""
    if not SEED_DISK.exists():
        return False
    flush_seed()
    with SEED_DISK.open("rb") as disk:
        return has_seed(disk.read(512))


def extract_seed() -> None:
    """Replace /etc/lab and /opt/lab by what the seed holds; extract the rest of it at /."""
    for folder in (ROOT / "etc/lab", ROOT / "opt/lab"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    with tarfile.open(SEED_DISK, "r:") as archive:
        archive.extractall(ROOT, filter="tar")


def read_node() -> dict[str, Any]:
    """The node's description from node.json. Raises NodeFault if it is missing or incomplete."""
    try:
        node: dict[str, Any] = json.loads(NODE_FILE.read_text())
    except (OSError, ValueError) as cause:
        raise NodeFault(f"cannot read {NODE_FILE}: {cause}; the seed must hold etc/lab/node.json") from cause
    missing = {"name", "address", "mac"} - node.keys()
    if missing:
        raise NodeFault(f"cannot configure the node: {NODE_FILE} lacks {', '.join(sorted(missing))}")
    return node


def mix_entropy(extra: bytes) -> None:
    """Give the kernel fresh randomness and make it use it now, so that restored twins part ways.

    Must come before the first read of the boot ID, which the kernel draws at that moment.
    """
    fresh = extra + time.time_ns().to_bytes(8, "little")
    source = Path("/dev/hwrng")
    if source.exists():
        with source.open("rb", buffering=0) as device:
            fresh += device.read(32)
    request = struct.pack("ii", 8 * min(len(fresh), 64), len(fresh)) + fresh
    with Path("/dev/urandom").open("wb", buffering=0) as pool:
        fcntl.ioctl(pool, RNDADDENTROPY, request)
        fcntl.ioctl(pool, RNDRESEEDCRNG)


def network_batch(node: dict[str, Any]) -> str:
    """Lines for `ip -batch` that give the data link the node's MAC, address and routes."""
    lines = [
        f"link set {DATA_LINK} down",
        f"address flush dev {DATA_LINK}",
        f"link set {DATA_LINK} address {node['mac']}",
        f"link set {DATA_LINK} up",
        f"address add {node['address']} dev {DATA_LINK}",
    ]
    if node.get("gateway"):
        lines.append(f"route replace default via {node['gateway']} dev {DATA_LINK}")
    for route in node.get("routes", ()):
        lines.append(f"route replace {route['to']} via {route['via']} dev {DATA_LINK}")
    return "\n".join(lines) + "\n"


def configure_network(node: dict[str, Any]) -> None:
    """Apply `network_batch` and make the guest a router without reverse-path checks, as a node with pods is."""
    batch = network_batch(node)
    done = subprocess.run(["ip", "-batch", "-"], input=batch, text=True, capture_output=True, check=False)
    if done.returncode:
        raise NodeFault(f"cannot configure {DATA_LINK}: {done.stderr.strip()}; the commands were:\n{batch}")
    settings = Path("/proc/sys/net/ipv4")
    (settings / "ip_forward").write_text("1")
    for link in (settings / "conf").iterdir():
        (link / "rp_filter").write_text("0")


def name_node(node: dict[str, Any]) -> None:
    """Set the hostname and /etc/hosts."""
    name = str(node["name"])
    socket.sethostname(name)
    Path("/etc/hostname").write_text(f"{name}\n")
    lines = ["127.0.0.1 localhost", f"{str(node['address']).split('/')[0]} {name}"]
    lines += [f"{address} {other}" for other, address in node.get("hosts", {}).items() if other != name]
    Path("/etc/hosts").write_text("\n".join(lines) + "\n")


def start_service() -> None:
    """Start the supervisor of /opt/lab/node.py in a session of its own."""
    if not Path("/opt/lab/node.py").exists():
        return
    with SERVICE_LOG.open("ab") as log:
        process = subprocess.Popen(
            ["/usr/local/sbin/lab-supervise"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    SUPERVISOR_PID.write_text(str(process.pid))


def service_group() -> int | None:
    """Process group of the running supervisor, or None."""
    try:
        group = int(SUPERVISOR_PID.read_text())
        os.killpg(group, 0)
    except (OSError, ValueError):
        return None
    return group


def stop(patience_s: float = 5.0) -> None:
    """End the service: SIGTERM, and SIGKILL after `patience_s` seconds. Does nothing if it is not running."""
    CONFIGURED_FILE.unlink(missing_ok=True)
    sent = signal.SIGTERM
    deadline = time.monotonic() + patience_s
    while (group := service_group()) is not None:
        os.killpg(group, sent)
        if time.monotonic() > deadline:
            sent = signal.SIGKILL
        time.sleep(0.05)
    SUPERVISOR_PID.unlink(missing_ok=True)


def ask_host() -> bytes:
    """Ask the host, at the other end of stdin and stdout, for the time and randomness; set the one, return the other.

    Asked for rather than passed as arguments: logging in takes long enough under emulation to make the time wrong.
    """
    sys.stdout.write("lab-node: time and randomness?\n")
    sys.stdout.flush()
    answer = sys.stdin.readline().split()
    if len(answer) != 2:
        raise NodeFault(f"cannot set the clock: the host answered {answer}, not `SECONDS HEX`")
    time.clock_settime(time.CLOCK_REALTIME, float(answer[0]))
    return bytes.fromhex(answer[1])


def configure(entropy: bytes = b"") -> None:
    """Make this guest the node of its seed. Raises NodeFault."""
    mix_entropy(entropy)
    stop()
    if not seed_present():
        raise NodeFault(f"cannot configure the node: {SEED_DISK} holds no tar archive")
    extract_seed()
    node = read_node()
    name_node(node)
    configure_network(node)
    start_service()
    CONFIGURED_FILE.write_text(f"{node['name']}\n")


def status() -> int:
    """Print the state as JSON; 0 if the node is configured, 1 if not."""
    configured = CONFIGURED_FILE.exists()
    running = service_group() is not None
    state = {"configured": configured, "service": running, "name": socket.gethostname()}
    sys.stdout.write(json.dumps(state) + "\n")
    return 0 if configured else 1


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab-node", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("act", choices=("configure", "boot", "stop", "status"))
    parser.add_argument("--ask-host", action="store_true", help="first ask on stdout for `SECONDS HEX`")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run one act; returns the exit status."""
    asked = parse_arguments(arguments)
    try:
        if asked.act == "status":
            return status()
        if asked.act == "stop":
            stop()
        elif asked.act == "configure" or seed_present():
            configure(ask_host() if asked.ask_host else b"")
    except (NodeFault, OSError) as fault:
        sys.stderr.write(f"lab-node: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
