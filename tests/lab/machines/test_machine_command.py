"""QEMU's arguments, seeds and consoles: nothing here starts a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.lab import clock_rate
from rollout.lab.image import Image
from rollout.lab.machine import SEED_BYTES, MachineError, MachineSpec, find_panic, qemu_command

IMAGE = Image(Path("/cache/images/0123"), "0123")
SPEC = MachineSpec("node-1", 1, 2201, 1025, b"tar")


def command(spec: MachineSpec = SPEC, tap_fd: int = 5) -> list[str]:
    return qemu_command(IMAGE, spec, Path("/run/lab"), tap_fd, 6, 2_596_122)


def value_of(option: str, words: list[str]) -> list[str]:
    return [words[position + 1] for position, word in enumerate(words) if word == option]


def test_the_known_traps_are_avoided() -> None:
    words = command()
    assert value_of("-cpu", words) == ["max,-cx16,-la57"]
    kernel = value_of("-append", words)[0]
    assert "tsc_early_khz=2596122" in kernel and "tsc=reliable" in kernel
    assert "panic=0" in kernel and "oops=panic" in kernel
    assert "-no-reboot" not in words


def test_guest_is_reachable_from_loopback_only() -> None:
    management = value_of("-netdev", command())[0]
    assert "restrict=on" in management
    assert "hostfwd=tcp:127.0.0.1:2201-:22" in management
    assert "hostfwd=tcp:127.0.0.1:1025-:10250" in management
    assert management.count("hostfwd") == 2


def test_disks_are_read_only_and_image_comes_first() -> None:
    disks = value_of("-drive", command())
    assert [disk.split(",")[0] for disk in disks] == ["file=/cache/images/0123/root.ext4", "file=/run/lab/node-1.seed"]
    assert all("readonly=on" in disk for disk in disks)


def test_machines_of_one_template_have_the_same_devices_in_the_same_order() -> None:
    def devices(words: list[str]) -> list[str]:
        return [device.split(",mac=")[0] for device in value_of("-device", words)]

    other = command(MachineSpec("node-2", 2, 2202, 1026), tap_fd=9)
    assert devices(command()) == devices(other)
    assert value_of("-device", command()) != value_of("-device", other)


def test_kernel_options_do_not_depend_on_the_machine() -> None:
    other = command(MachineSpec("node-2", 2, 2202, 1026))
    assert value_of("-append", command()) == value_of("-append", other)


def test_comma_in_a_path_is_escaped() -> None:
    words = qemu_command(IMAGE, SPEC, Path("/run/a,b"), 5, 6, 1)
    assert "file:/run/a,,b/node-1.console" in words


def test_seed_disk_has_a_fixed_size() -> None:
    assert len(SPEC.seed_disk()) == SEED_BYTES
    assert SPEC.seed_disk().startswith(b"tar\0")


def test_seed_too_large_is_refused() -> None:
    with pytest.raises(MachineError, match="cannot start machine big"):
        MachineSpec("big", 1, 1, 1, bytes(SEED_BYTES + 1)).seed_disk()


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        ("booting\nlab: ok\n", None),
        ("[ 1.0] Kernel panic - not syncing: sysrq triggered crash\r\n[ 1.1] CPU", "sysrq triggered crash"),
        ("[ 1.0] Kernel panic - not syncing\n", None),
    ],
)
def test_panic_is_read_from_the_console(console: str, reason: str | None) -> None:
    assert find_panic(console) == reason


def test_clock_rate_in_khz() -> None:
    assert clock_rate.rate_khz(2_596_122_000, 1_000_000_000) == 2_596_122


def test_clock_rate_is_measured_steadily() -> None:
    first, second = clock_rate.measure_tsc_khz(), clock_rate.measure_tsc_khz()
    assert abs(first - second) < first * 0.02
