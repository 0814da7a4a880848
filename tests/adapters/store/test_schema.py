"""What is opened and what is refused, with the way out."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from rollout.adapters import packaged
from rollout.adapters.store import check, create_or_upgrade, database, open_store
from rollout.adapters.store.tables import REVISION
from rollout.domain.errors import Refused, RolloutError, Unavailable, UsageError
from tests.adapters.store.states import fresh_schema, now
from tests.contracts.journal_store import NOW, save, waiting


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state with one rollout, closed: one file."""
    made = tmp_path / "state.db"
    create_or_upgrade(made, now())
    store = open_store(made, now)
    store.append(save(store).id, [waiting(n) for n in range(200)], now=NOW)
    store.close()
    return made


def refusal(where: str | Path, kind: type[RolloutError] = Refused) -> RolloutError:
    with pytest.raises(kind) as caught:
        open_store(where, now, busy_seconds=0.2)
    assert type(caught.value) is kind
    assert caught.value.message.startswith("cannot ")
    assert caught.value.hint
    return caught.value


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(statement)
        raw.commit()


def test_path_and_url_are_one(path: Path) -> None:
    names: list[str | Path] = [path, str(path), f"sqlite:///{path}", path.parent / "." / "state.db"]
    (path.parent / "link.db").symlink_to(path)
    for name in [*names, path.parent / "link.db"]:
        store = open_store(name, now)
        assert store.label == str(path)
        store.close()


def test_strange_names(tmp_path: Path) -> None:
    odd = tmp_path / "50% of #1 ?mode=ro" / "zürich.db"
    create_or_upgrade(odd, now())
    store = open_store(odd, now)
    save(store)
    store.close()
    assert odd.is_file()


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "sqlite://", "sqlite:///x.db?mode=ro", "postgresql+asyncpg://h/d", "://"]
)
def test_not_understood(url: str) -> None:
    assert refusal(url, UsageError).code == "state-url"


def test_missing(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none.db")
    assert (error.code, error.hint) == ("state-missing", "run: rollout state upgrade")
    assert list(tmp_path.iterdir()) == []


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    assert refusal(tmp_path / "state.db").code == "state-empty"


def test_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path).code == "state-not-a-file"
    with pytest.raises(Refused) as caught:
        create_or_upgrade(tmp_path, now())
    assert caught.value.code == "state-not-a-file"


def test_older_and_newer(path: Path) -> None:
    execute(path, "UPDATE alembic_version SET version_num = '0000'")
    older = refusal(path)
    assert (older.code, "rollout state upgrade" in older.hint) == ("state-older", True)
    execute(path, "UPDATE alembic_version SET version_num = '0999'")
    newer = refusal(path)
    assert (newer.code, "newer program" in newer.hint) == ("state-newer", True)
    with pytest.raises(Refused) as caught:
        create_or_upgrade(path, now())
    assert caught.value.code == "state-newer"
    status = check(path)
    assert (status.current, status.head, status.ok) == ("0999", REVISION, False)


def test_database_of_another_program(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE bookmarks (url TEXT)")
    assert refusal(other).code == "state-foreign"
    with pytest.raises(Refused) as caught:
        create_or_upgrade(other, now())
    assert caught.value.code == "state-foreign"
    execute(other, "CREATE TABLE alembic_version (version_num TEXT)")
    execute(other, "CREATE TABLE meta (version TEXT)")
    execute(other, "INSERT INTO alembic_version VALUES ('f00')")
    assert refusal(other).code == "state-foreign"


def test_not_a_database(path: Path) -> None:
    path.write_bytes(b"rollouts: []\n" * 100)
    error = refusal(path)
    assert (error.code, "copy it aside" in error.hint) == ("state-damaged", True)
    status = check(path)
    assert (status.current, status.ok, len(status.integrity)) == (None, False, 1)
    with pytest.raises(Refused) as caught:
        create_or_upgrade(path, now())
    assert caught.value.code == "state-damaged"
    assert path.read_bytes().startswith(b"rollouts")


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_cut_short(path: Path, cut: float) -> None:
    os.truncate(path, int(path.stat().st_size * cut) // 4096 * 4096)
    assert refusal(path).code == "state-damaged"
    assert not check(path).ok


def test_a_damaged_page(path: Path) -> None:
    """Not in a page that opening reads for itself: only quick_check sees it."""
    with closing(sqlite3.connect(path)) as raw:
        (page,) = raw.execute("SELECT max(rootpage) FROM sqlite_master WHERE tbl_name = 'observations'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    assert refusal(path).code == "state-damaged"
    assert check(path).integrity


def test_locked_beyond_the_timeout(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE heads SET seq = seq + 1")
        assert refusal(path, Unavailable).code == "state-locked"


def _as_nobody(path: Path) -> subprocess.CompletedProcess[str]:
    """Open as a user whom file modes bind, from a process that has nothing else to do."""
    program = (
        "import os, sys\n"
        "from datetime import UTC, datetime\n"
        "from rollout.adapters.store import open_store\n"
        "from rollout.domain.errors import Refused\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: open_store(sys.argv[1], lambda: datetime.now(UTC))\n"
        "except Refused as error: print(error.code)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def _let_others_in(path: Path) -> None:
    """Down to the file's directory; pytest's own are closed to others, one more when tests run side by side."""
    for parent in path.parents[:4]:
        if parent.stat().st_uid == os.getuid():
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o055)


def test_a_directory_closed_to_this_user(path: Path) -> None:
    _let_others_in(path)
    path.parent.chmod(0o700)
    done = _as_nobody(path)
    assert (done.stdout, done.stderr) == ("state-out-of-reach\n", "")


@pytest.mark.parametrize("modes", [(0o444, 0o777), (0o666, 0o555)], ids=["file", "directory"])
def test_read_only_by_modes(path: Path, modes: tuple[int, int]) -> None:
    _let_others_in(path)
    path.chmod(modes[0])
    path.parent.chmod(modes[1])
    done = _as_nobody(path)
    path.parent.chmod(0o700)
    assert (done.stdout, done.stderr) == ("state-read-only\n", "")


@pytest.mark.parametrize("what", ["file", "directory"])
def test_read_only_by_an_attribute_that_binds_root(path: Path, what: str) -> None:
    target = path if what == "file" else path.parent
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+i", target], capture_output=True, check=False).returncode:
        pytest.skip("this file system or user cannot make a file immutable")
    try:
        assert refusal(path).code == "state-read-only"
    finally:
        subprocess.run([chattr, "-i", target], check=True)


def test_postgresql_driver_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refusal("postgresql://ada:secret@db.example/rollout", UsageError)
    assert (error.code, error.hint) == ("postgresql-driver-missing", "pip install 'netkit-rollout[postgresql]'")
    assert "secret" not in error.message


def test_postgresql_out_of_reach(tmp_path: Path) -> None:
    error = refusal(f"postgresql+psycopg://ada:secret@/d?host={tmp_path}", Unavailable)
    assert error.code == "state-unreachable"
    assert "secret" not in error.message


def test_postgresql_empty_older_newer_foreign(request: pytest.FixtureRequest) -> None:
    with fresh_schema(request.config) as url:
        assert refusal(url).code == "state-empty"
        raw = create_engine(make_url(url))
        create_or_upgrade(url, now())
        assert create_or_upgrade(url, now()).before == REVISION
        assert check(url).ok
        for revision, code in (("0000", "state-older"), ("0999", "state-newer")):
            with raw.begin() as connection:
                connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
            assert refusal(url).code == code
        with raw.begin() as connection:
            connection.execute(text("ALTER TABLE meta RENAME TO bookmarks"))
        assert refusal(url).code == "state-foreign"
        raw.dispose()


def test_connections_are_as_promised(path: Path) -> None:
    engine = database.make_engine(database.parse_place(path))
    with engine.begin() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


@pytest.mark.parametrize("installed", [True, False])
def test_packaged_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    package = tmp_path / "site" / "rollout"
    package.mkdir(parents=True)
    (tmp_path / "site" / "bpf").mkdir()
    if installed:
        (package / "_data" / "bpf").mkdir(parents=True)
    monkeypatch.setattr(packaged, "files", lambda _name: package)
    if installed:
        assert packaged.packaged_dir("bpf") == package / "_data" / "bpf"
    else:  # a folder of that name beside an installed package is not ours
        with pytest.raises(FileNotFoundError, match="bpf is not installed"):
            packaged.packaged_dir("bpf")
    monkeypatch.undo()
    assert (packaged.packaged_dir("migrations") / "env.py").is_file()


def test_opening_does_not_load_alembic() -> None:
    program = "import sys, rollout.adapters.store; sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])
