"""What the eBPF probes' loader says where it cannot, and how it reads the kernel's own types."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rollout.adapters.ansible import bundle
from rollout.onnode import bpf_sources, bpfcompile, bpflinks, bpfprobe, btf, drops, entry, wire

HAS_BTF = Path(btf.VMLINUX).exists()


def refusal_of(monkeypatch: pytest.MonkeyPatch, error: Exception, system: list[str]) -> entry.Refusal:
    def fail() -> None:
        raise error

    monkeypatch.setattr(bpfcompile, "_imported", fail)
    monkeypatch.setattr(bpfcompile, "_distribution", lambda: system)
    with pytest.raises(entry.Refusal) as refusal:
        bpfcompile.import_bcc()
    assert refusal.value.code == "bpf-unavailable"
    return refusal.value


NO_MODULE = ModuleNotFoundError("No module named 'bcc'", name="bcc")


@pytest.mark.parametrize(
    ("system", "hint"),
    [
        (["debian"], "apt-get install --no-install-recommends python3-bpfcc"),
        (["linuxmint", "ubuntu", "debian"], "apt-get install"),
        (["rocky", "rhel", "centos", "fedora"], "dnf install python3-bcc"),
        (["sles", "suse"], "zypper install python3-bcc"),
        (["flatcar", "coreos"], "flatcar installs no packages on a node"),
        (["talos"], "toolbox"),
        (["bottlerocket"], "toolbox"),
        ([], "toolbox"),
    ],
)
def test_without_the_module(monkeypatch: pytest.MonkeyPatch, system: list[str], hint: str) -> None:
    refusal = refusal_of(monkeypatch, NO_MODULE, system)
    assert refusal.facts == {"missing": ["python3-bpfcc"]}
    assert "not installed" in refusal.message
    assert hint in refusal.hint
    assert "toolbox" in refusal.hint


@pytest.mark.parametrize(
    "error",
    [
        OSError("libbcc.so.0: cannot open shared object file: No such file or directory"),
        OSError("libLLVM-14.so.1: cannot open shared object file: No such file or directory"),
        AttributeError("/lib/libbcc.so.0: undefined symbol: bcc_func_load"),
    ],
)
def test_without_the_library(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    refusal = refusal_of(monkeypatch, error, ["debian"])
    assert refusal.facts == {"missing": ["libbcc"]}
    assert str(error) in refusal.message
    assert "in one version" in refusal.hint


def test_distribution(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n\n# odd\n')
    assert bpfcompile._distribution(str(release)) == ["rocky", "rhel", "centos", "fedora"]
    assert bpfcompile._distribution(str(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("state", "missing", "words"),
    [
        ("none integrity [confidentiality]", "lockdown", "lockdown=integrity"),
        ("none [integrity] confidentiality", "permission to load eBPF programs", "CAP_BPF"),
    ],
)
def test_a_kernel_that_refuses(monkeypatch: pytest.MonkeyPatch, state: str, missing: str, words: str) -> None:
    monkeypatch.setattr(bpfcompile, "_lockdown", lambda: state.partition("[")[2].partition("]")[0])
    refusal = bpfcompile._refused(bpfcompile.Program("path_sent", "net_dev_xmit"), "Operation not permitted")
    assert refusal.facts == {"missing": [missing]}
    assert words in refusal.hint
    assert "path_sent: Operation not permitted" in refusal.message


def test_a_kernel_without_types(tmp_path: Path) -> None:
    with pytest.raises(entry.Refusal) as refusal:
        wire._types(str(tmp_path / "vmlinux"))
    assert refusal.value.code == "bpf-unavailable"
    assert refusal.value.facts == {"missing": ["kernel BTF"]}
    assert "CONFIG_DEBUG_INFO_BTF" in refusal.value.hint
    assert str(tmp_path / "vmlinux") in refusal.value.message


# --- the kernel's types ---------------------------------------------------------------------------------------------


class Types:
    """Makes a small description of types, in the kernel's format."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""

    def name(self, text: str) -> int:
        if not text:
            return 0
        where = self.strings.find(b"\0" + text.encode() + b"\0")
        if where >= 0:
            return where + 1
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, name: str, kind: int, size: int, *words: int, count: int = 0, flag: int = 0) -> None:
        info = flag << 31 | kind << 24 | count
        self.types += struct.pack(f"=III{len(words)}I", self.name(name), info, size, *words)

    def members(self, name: str, kind: int, *members: tuple[str, int, int], flag: int = 0) -> None:
        words = [word for text, number, bits in members for word in (self.name(text), number, bits)]
        self.add(name, kind, 64, *words, count=len(members), flag=flag)

    def data(self) -> bytes:
        lengths = (0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, *lengths) + self.types + self.strings


STRUCT, UNION, ENUM, TYPEDEF, CONST = 4, 5, 6, 8, 10


def sample() -> btf.Btf:
    types = Types()
    types.add("int", 1, 4, 0x20)  # 1
    types.members("", UNION, ("dev", 1, 0), ("scratch", 1, 0))  # 2
    types.members("", STRUCT, ("next", 1, 0), ("", 2, 128))  # 3
    types.add("", CONST, 3)  # 4
    types.add("inner_t", TYPEDEF, 6)  # 5
    types.members("inner", STRUCT, ("first", 1, 0), ("inum", 1, 192))  # 6
    types.members("sk_buff", STRUCT, ("", 4, 64), ("ns", 5, 512), ("len", 1, 768))  # 7
    types.members("packed", STRUCT, ("bits", 1, 3 << 24 | 5), ("whole", 1, 64), flag=1)  # 8
    types.add("reason", ENUM, 4, types.name("NONE"), 0, types.name("SOCKET"), 3, count=2)  # 9
    types.add("sk_buff", 7, 0)  # a forward declaration of the same name
    return btf.Btf(types.data())


@pytest.mark.parametrize(
    ("structure", "path", "offset"),
    [
        ("sk_buff", "len", 96),
        ("sk_buff", "dev", 24),
        ("sk_buff", "next", 8),
        ("sk_buff", "ns.inum", 88),
        ("packed", "whole", 8),
    ],
)
def test_offsets(structure: str, path: str, offset: int) -> None:
    assert sample().offset(structure, path) == offset


@pytest.mark.parametrize(
    ("structure", "path"),
    [("sk_buff", "nothing"), ("nothing", "len"), ("sk_buff", "len.more"), ("int", "x"), ("packed", "bits")],
)
def test_what_the_kernel_does_not_describe(structure: str, path: str) -> None:
    with pytest.raises(btf.BtfError, match=path if structure not in ("nothing", "int") else structure):
        sample().offset(structure, path)


def test_enum() -> None:
    assert sample().enum("reason") == {0: "NONE", 3: "SOCKET"}


@pytest.mark.parametrize("data", [b"", b"\0" * 64, sample().__class__.__name__.encode() * 20])
def test_no_description(data: bytes) -> None:
    with pytest.raises(btf.BtfError, match="cannot read"):
        btf.Btf(data)


@pytest.mark.skipif(not HAS_BTF, reason="this kernel does not describe its types")
def test_the_running_kernel() -> None:
    kernel = btf.read()
    for probe in wire.PROBES.values():
        for structure, field in probe.fields.values():
            assert 0 <= kernel.offset(structure, field) < 1 << 16
    assert kernel._walked < len(kernel._words) // 4, "most types need not be looked at"


# --- what documents are made of -------------------------------------------------------------------------------------

FORMAT = 'print fmt: "reason: %s", __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" })'


class NoEnum(btf.Btf):
    def __init__(self) -> None:
        pass

    def enum(self, name: str) -> dict[int, str]:
        raise btf.BtfError(name)


def test_reasons_from_the_tracepoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "symbols", lambda: drops.parse_symbols(FORMAT))
    reasons = drops.Reasons(NoEnum())
    assert reasons.origin == "tracepoint-format"
    assert [reasons.name(number) for number in (2, 3, 77)] == ["NOT_SPECIFIED", "NO_SOCKET", "77"]


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ((0x0800, 17), "ipv4/udp"),
        ((0x86DD, 58), "ipv6/icmpv6"),
        ((0x0800, 89), "ipv4/89"),
        ((0x0806, 0), "arp"),
        ((0x8035, 0), "0x8035"),
        ((0, 0), "unknown"),
    ],
)
def test_protocols(numbers: tuple[int, int], name: str) -> None:
    assert drops.protocol_name(*numbers) == name


def test_a_self_test_that_differs_names_both_numbers() -> None:
    test = bpfprobe.compared("path", {"veth": 64, "netkit": 64}, {"veth": 64, "netkit": 60})
    assert (test.sent, test.seen, test.ok) == (128, 124, False)
    assert "netkit: sent 64, seen 60" in test.message
    assert "veth" not in test.message
    assert bpfprobe.compared("path", {"veth": 1}, {"veth": 1}).ok
    assert not bpfprobe.compared("path", {"veth": 1}, {}).ok


def test_trimmed() -> None:
    assert bpfprobe.trimmed([0, 2, 0, 0]) == [0, 2]
    assert bpfprobe.trimmed([0, 0]) == []


def test_counters_grow_from_what_they_were() -> None:
    now = {1: bpflinks.Received(10, 900), 2: bpflinks.Received(4, 40)}
    assert bpflinks.grown({1: bpflinks.Received(7, 300)}, now) == {1: (3, 600), 2: (4, 40)}


# --- what is shipped ------------------------------------------------------------------------------------------------


def test_c_sources_go_along_only_where_a_probe_needs_them() -> None:
    name = "onnode.bpf_sources"
    for probes in (["path"], ["links", "tcp"], ["drops"]):
        assert name in bundle.needed("observe", {"probes": probes})
    for program, request in (("observe", {"probes": ["links", "reach"]}), ("prepare", {}), ("reboot", {})):
        left = bundle.needed(program, request)
        assert name not in left
        assert "onnode.wire" not in left
        assert "onnode.entry" in left


def test_the_digest_of_what_is_shipped_covers_the_c_sources() -> None:
    shipped: dict[str, dict[str, str]] = {}
    exec(bundle.sources()["onnode.bpf_sources"], shipped)
    assert shipped["SOURCES"] == bpf_sources.SOURCES
    assert {"common.h", "path.c", "drops.c", "tcp.c", "include/linux/types.h"} <= set(shipped["SOURCES"])


def test_no_kernel_header_but_the_stand_ins() -> None:
    for path, text in bpf_sources.SOURCES.items():
        assert "#include" not in text, path


def test_no_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="C sources"):
        bpf_sources.read(tmp_path)
