"""What the guest's image is made of, and the digest that names one such image in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

SUITE = "trixie"
KERNEL_PACKAGE = "linux-image-cloud-amd64"
HEADERS_PACKAGE = "linux-libc-dev"
PYROUTE2 = "pyroute2==0.9.7"
PACKAGES = (
    "bpftool",
    "busybox-static",
    "ethtool",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-bpfcc",
    "sudo",
    "tcpdump",
)
# Nobody reads these in the guest, and they are a third of its size.
LEFT_OUT_PATHS = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/bcc/*",
)
# Loaded by the initramfs, to reach the root file system.
BOOT_MODULES = ("virtio_blk", "overlay")
# Loaded at boot, so that no test waits for modprobe and a snapshot has them.
LOADED_MODULES = (
    "virtio_net",
    "virtio_rng",
    "veth",
    "dummy",
    "bridge",
    "tun",
    "sch_netem",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "inet_diag",
    "tcp_diag",
)
# Present for those who ask for them. sch_ingress also provides clsact.
OTHER_MODULES = (
    "qemu_fw_cfg",
    "af_packet_diag",
    "udp_diag",
    "unix_diag",
    "netlink_diag",
    "br_netfilter",
    "vxlan",
    "macvlan",
    "ipvlan",
    "8021q",
    "cls_u32",
    "cls_flower",
    "cls_matchall",
    "act_mirred",
    "act_gact",
    "sch_fq",
    "sch_tbf",
    "sch_prio",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nft_compat",
    "nft_chain_nat",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "nft_limit",
    "nft_log",
    "nft_numgen",
    "nft_queue",
    "nft_redir",
    "nft_reject",
    "nft_reject_inet",
    "nft_fib_inet",
    "xt_conntrack",
    "xt_mark",
    "xt_MASQUERADE",
    "ip_tables",
    "iptable_filter",
    "iptable_nat",
)


@dataclass(frozen=True)
class Recipe:
    """The parts of an image that its digest covers, beside the builder's own sources."""

    suite: str = SUITE
    packages: tuple[str, ...] = PACKAGES

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the suite, the packages and every source file of this package.

        The archive's state is left out on purpose: a new point release must not throw away a good image.
        """
        total = hashlib.sha256()
        for part in (self.suite, *self.packages):
            total.update(f"{part}\0".encode())
        for path in source_files():
            total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return total.hexdigest()


def source_files() -> list[Path]:
    """The sources of the builder, guest files included, in a fixed order."""
    folder = Path(__file__).parent
    found = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
