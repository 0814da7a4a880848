"""How fast this machine's time-stamp counter (TSC) runs.

QEMU's emulator hands the host's TSC to the guest. On a busy host the guest calibrates it wrongly, by factors: time-outs
fire early and latencies are nonsense. So the rate is measured here and told to the guest's kernel.
"""

from __future__ import annotations

import ctypes
import mmap
import statistics
import time
from collections.abc import Callable

# rdtsc; shl rdx, 32; or rax, rdx; ret
READ_TSC = bytes.fromhex("0f3148c1e2204809d0c3")
SAMPLES = 5
SAMPLE_S = 0.04


def tsc_reader() -> Callable[[], int]:
    """A function that reads the TSC of the core it runs on. Only on x86-64."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(READ_TSC)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    call = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)

    def read() -> int:
        # `page` is named here so that the code lives as long as its reader.
        assert not page.closed
        return int(call())

    return read


def rate_khz(ticks: int, elapsed_ns: int) -> int:
    """Ticks over a time in nanoseconds, as kHz."""
    return round(ticks * 1_000_000 / elapsed_ns)


def measure_tsc_khz() -> int:
    """This machine's TSC rate in kHz: the median of a few samples, 0.2 s in all."""
    read = tsc_reader()
    rates = []
    for _ in range(SAMPLES):
        begin_ns, begin_ticks = time.monotonic_ns(), read()
        time.sleep(SAMPLE_S)
        end_ns, end_ticks = time.monotonic_ns(), read()
        rates.append(rate_khz(end_ticks - begin_ticks, end_ns - begin_ns))
    return round(statistics.median(rates))
