"""A wire between two network namespaces that loses and delays packets, for kernels without sch_netem.

`python -m tests.onnode.lossywire LEFT RIGHT LOSS_PER_MILLE DELAY_MS SEED`: makes a TUN device `eth0` in each of two
named namespaces and passes packets between them. Of a TUN device the kernel asks neither checksums nor segmentation.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import sys
import time

from rollout.onnode import netns

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PACKET = 65536


def tun(namespace: str) -> int:
    """A TUN device `eth0` in the namespace; it lives as long as the descriptor."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)

    def make() -> int:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"eth0", _IFF_TUN | _IFF_NO_PI))
        return device

    try:
        return netns.inside(descriptor, make)
    finally:
        os.close(descriptor)


def carry(left: int, right: int, loss_per_mille: int, delay_ms: int, seed: int) -> None:
    """Until killed."""
    chance = random.Random(seed)
    other = {left: right, right: left}
    poll = select.epoll()
    for one in other:
        poll.register(one, select.EPOLLIN)
    waiting: list[tuple[float, int, int, bytes]] = []
    order = itertools.count()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        for number, _ in poll.poll(pause):
            packet = os.read(number, _PACKET)
            if chance.randrange(1000) >= loss_per_mille:
                heapq.heappush(waiting, (time.monotonic() + delay_ms / 1000, next(order), other[number], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, number, packet = heapq.heappop(waiting)
            with contextlib.suppress(OSError):  # the other end is not up yet
                os.write(number, packet)


if __name__ == "__main__":
    ends = tun(sys.argv[1]), tun(sys.argv[2])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    carry(*ends, *(int(word) for word in sys.argv[3:6]))
