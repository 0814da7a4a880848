"""Pure parts of the image builder: sources, digests, module dependencies, the guest's own program."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from machine_seeds import describe_node, node_seed

from rollout.lab.image import ImageError, Recipe, ensure_image, mirror
from rollout.lab.image.guest import lab_node
from rollout.lab.image.kernel import module_name, parse_depends

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
"""


def test_mirror_from_deb822() -> None:
    assert list(mirror.parse_deb822(DEB822)) == ["http://mirror.example/debian"]


@pytest.mark.parametrize(
    ("line", "uris"),
    [
        ("deb http://a.example/debian trixie main contrib", ["http://a.example/debian"]),
        ("deb [signed-by=/k.gpg arch=amd64] https://a.example/debian/ trixie main # us", ["https://a.example/debian/"]),
        ("deb-src http://a.example/debian trixie main", []),
        ("# deb http://a.example/debian trixie main", []),
        ("deb http://a.example/debian trixie contrib", []),
    ],
)
def test_mirror_from_one_line_sources(line: str, uris: list[str]) -> None:
    assert list(mirror.parse_one_line(line)) == uris


def test_main_archive_is_chosen_among_others() -> None:
    uris = ["https://other.example/apt", "http://m.example/debian-security", "http://m.example/debian/"]
    assert mirror.choose_mirror(uris) == "http://m.example/debian"
    assert mirror.choose_mirror(["http://archive.example/ubuntu"]) is None


def test_sources_of_both_forms_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://first.example/debian trixie main\n")
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    assert mirror.configured_uris(tmp_path) == ["http://first.example/debian", "http://mirror.example/debian"]


def test_machine_without_debian_mirror_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="name a mirror"):
        mirror.host_mirror(tmp_path)


def test_only_the_way_to_the_mirror_is_kept_of_apt_settings() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\nAPT::Update::Post-Invoke:: "something";\n'
        'Acquire::Check-Valid-Until "false";\nDir::Cache "var";\n'
    )
    kept = mirror.kept_settings(dump)
    assert kept == 'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::Check-Valid-Until "false";\n'


def test_digest_covers_suite_and_packages() -> None:
    digests = {Recipe().digest, Recipe(suite="sid").digest, Recipe(packages=("python3",)).digest}
    assert len(digests) == 3
    assert Recipe().digest == Recipe().digest


def test_image_in_the_cache_is_used_without_building(tmp_path: Path) -> None:
    folder = tmp_path / "images" / Recipe().digest[:16]
    folder.mkdir(parents=True)
    reports: list[str] = []
    assert ensure_image(tmp_path, reports.append).folder == folder
    assert reports == []


def test_module_dependencies_are_read_from_the_module() -> None:
    assert parse_depends(b"\0license=GPL\0depends=failover,net-failover\0intree=Y\0") == ["failover", "net_failover"]
    assert parse_depends(b"\0depends=\0") == []
    assert module_name(Path("drivers/virtio-rng.ko.xz")) == "virtio_rng"


def test_guest_network_commands() -> None:
    batch = lab_node.network_batch(describe_node(1, 2)).splitlines()
    assert "address add 192.168.77.11/24 dev eth1" in batch
    assert "link set eth1 address 52:54:00:77:00:01" in batch
    assert "route replace default via 192.168.77.1 dev eth1" in batch
    assert "route replace 10.244.2.0/24 via 192.168.77.12 dev eth1" in batch
    assert batch.index("link set eth1 up") < batch.index("address add 192.168.77.11/24 dev eth1")


def test_guest_tells_a_seed_from_an_empty_disk(tmp_path: Path) -> None:
    assert lab_node.has_seed(node_seed(1, 2)[:512])
    assert not lab_node.has_seed(bytes(512))


def test_guest_replaces_what_an_earlier_seed_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = tmp_path / "seed"
    seed.write_bytes(node_seed(1, 2).ljust(8 << 20, b"\0"))
    root = tmp_path / "root"
    (root / "etc/lab").mkdir(parents=True)
    (root / "etc/lab/old.json").touch()
    monkeypatch.setattr(lab_node, "SEED_DISK", seed)
    monkeypatch.setattr(lab_node, "ROOT", root)
    if not hasattr(tarfile, "tar_filter"):
        pytest.skip("this Python's tarfile has no extraction filters (3.11.4 and later have)")
    lab_node.extract_seed()
    assert {path.name for path in (root / "etc/lab").iterdir()} == {"node.json"}
    assert (root / "opt/lab/node.py").exists()


def test_guest_names_what_node_json_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_file = tmp_path / "node.json"
    node_file.write_text('{"name": "node-1"}')
    monkeypatch.setattr(lab_node, "NODE_FILE", node_file)
    with pytest.raises(lab_node.NodeFault, match="lacks address, mac"):
        lab_node.read_node()
