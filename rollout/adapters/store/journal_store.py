"""`JournalStore` on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock as ThreadLock
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from rollout.adapters.store.chain import Head, extend
from rollout.adapters.store.database import Place, snapshot, writer
from rollout.adapters.store.errors import translated
from rollout.adapters.store.locks import AdvisoryLock, FileLock, Lock, Now
from rollout.adapters.store.tables import heads, journal, observations, plans, rollouts
from rollout.adapters.store.verify import journal_faults
from rollout.domain.codec import DecodeError, canonical, sha256
from rollout.domain.errors import Conflict, NotFound, Refused, UsageError
from rollout.domain.inventory import Observation
from rollout.domain.journal import Body, Entry, PlanSaved, decode_body, encode_body
from rollout.domain.lifecycle import RolloutEvent
from rollout.ports.store import ChainFault, RolloutRecord

_ID_LENGTH = 12
_SHORTEST_PREFIX = 6


def utc_text(moment: datetime) -> str:
    """A time as stored. A naive one is a bug."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def state_lock(place: Place, engine: Engine, now: Now) -> Lock:
    """The lock of a state."""
    return FileLock(place.path, now) if place.path is not None else AdvisoryLock(engine, place.label, now)


class SqlJournalStore:
    """A state of the current schema. Made by `open_store`."""

    def __init__(self, place: Place, engine: Engine, identity: str, now: Now) -> None:
        self._label = place.label
        self._engine = engine
        self._writer = writer(engine)
        self._id = identity
        self._path = place.path
        self._inode = _inode(place.path)
        self._lock = state_lock(place, engine, now)
        # Threads of one process take turns here rather than in SQLite's unfair busy handler.
        self._turn = ThreadLock()
        self._commits = 0

    @property
    def id(self) -> str:
        """The state's UUID."""
        return self._id

    @property
    def label(self) -> str:
        """Where the state is, as shown to people."""
        return self._label

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A short transaction that sees one moment."""
        with translated(self._label), snapshot(self._engine).begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._turn, translated(self._label):
            self._require_same_file()
            with self._writer.begin() as connection:
                yield connection
            self._commits += 1

    def _require_same_file(self) -> None:
        """A file that was replaced or deleted under us still takes our writes, and they are lost with us."""
        if self._inode != _inode(self._path):
            raise Refused(
                "state-replaced",
                f"cannot write to the state {self._label}: the file was replaced or deleted while it was in use",
                hint="stop every rollout process, see that the right file is in place, then start again",
            )

    def save_plan(
        self,
        document: bytes,
        *,
        digest: str,
        cluster: str,
        purpose: str,
        now: datetime,
        by: str = "",
        account: str = "",
    ) -> RolloutRecord:
        """Save a plan and open its journal."""
        if sha256(document) != digest:
            raise ValueError("the digest is not that of the document")
        try:
            self._insert_plan(document, PlanSaved(digest, cluster, by, account), purpose, now)
        except IntegrityError:  # another process saved the same plan in the same moment; or it is a bug
            self.find(digest)
        return self.find(digest)

    def _insert_plan(self, document: bytes, saved: PlanSaved, purpose: str, now: datetime) -> None:
        digest, at = saved.digest, utc_text(now)
        rollout = digest[:_ID_LENGTH]
        with self.reading() as connection:
            if connection.scalar(select(rollouts.c.id).where(rollouts.c.digest == digest)) is not None:
                return
        tag, content = encode_body(saved)
        links = extend(rollout, Head(0, digest), at, [(tag, canonical(content).decode())])
        record = {"id": rollout, "digest": digest, "cluster": saved.cluster, "purpose": purpose, "created": at}
        with self._writing() as connection:
            connection.execute(insert(rollouts), record)
            connection.execute(insert(plans), {"rollout": rollout, "document": document})
            connection.execute(insert(journal), [asdict(link) for link in links])
            connection.execute(insert(heads), {"rollout": rollout, "seq": links[-1].seq, "hash": links[-1].hash})

    def load_plan(self, rollout: str) -> bytes:
        """A plan's exact bytes."""
        record = self.find(rollout)
        with self.reading() as connection:
            document = connection.scalar(select(plans.c.document).where(plans.c.rollout == record.id))
        if document is None or sha256(document) != record.digest:
            raise Refused(
                "plan-damaged",
                f"cannot use plan {record.id}: its stored text does not match its digest",
                hint="the state was edited or damaged, see: rollout state check",
            )
        return bytes(document)

    def find(self, reference: str) -> RolloutRecord:
        """A rollout by id, digest or unique prefix."""
        hint = "see: rollout status"
        found: tuple[RolloutRecord, ...] = ()
        if len(reference) >= _SHORTEST_PREFIX:
            found = self._records(reference)
        else:
            hint = f"give at least {_SHORTEST_PREFIX} characters of its id; {hint}"
        if not found:
            raise NotFound("rollout-not-found", f"cannot find a rollout {reference!r} in {self._label}", hint=hint)
        if len(found) > 1:
            names = ", ".join(record.id for record in found)
            raise UsageError(
                "rollout-ambiguous", f"cannot tell which rollout {reference!r} is: {names}", hint="give more of its id"
            )
        return found[0]

    def rollouts(self) -> tuple[RolloutRecord, ...]:
        """All rollouts, oldest first."""
        return self._records("")

    def _records(self, prefix: str) -> tuple[RolloutRecord, ...]:
        matches = func.substr(rollouts.c.digest, 1, len(prefix)) == prefix
        with self.reading() as connection:
            rows = connection.execute(select(rollouts).where(matches).order_by(rollouts.c.number)).all()
            started = _started(connection)
        return tuple(
            RolloutRecord(
                row.id,
                row.digest,
                row.cluster,
                row.purpose,
                datetime.fromisoformat(row.created),
                started.get(row.id),
            )
            for row in rows
        )

    def serial(self, cluster: str) -> int:
        """How many rollouts on this cluster were started so far, plus one."""
        return 1 + sum(record.cluster == cluster and record.started is not None for record in self.rollouts())

    def append(
        self, rollout: str, bodies: Sequence[Body], *, now: datetime, expect_seq: int | None = None
    ) -> tuple[Entry, ...]:
        """Append in one transaction. No bodies: no transaction, and nothing is compared.

        Returns entries as `read` will: what could not be read back is a bug found here, before it is written.
        """
        at = utc_text(now)
        items, decoded = [], []
        for body in bodies:
            tag, plain = encode_body(body)
            content = canonical(plain).decode()
            items.append((tag, content))
            decoded.append(decode_body(tag, json.loads(content)))
        if not items:
            return ()
        with self._writing() as connection:
            # The row lock (PostgreSQL) or BEGIN IMMEDIATE (SQLite) keeps the head still until the commit.
            head = connection.execute(
                select(heads.c.seq, heads.c.hash).where(heads.c.rollout == rollout).with_for_update()
            ).one_or_none()
            if head is None:
                raise self._unknown(rollout)
            if expect_seq is not None and head.seq != expect_seq:
                raise Conflict(
                    "journal-moved",
                    f"cannot write to the journal of {rollout}: it is at entry {head.seq}, not {expect_seq}",
                    hint="another process has written to it; repeat the command",
                )
            links = extend(rollout, Head(head.seq, head.hash), at, items)
            connection.execute(insert(journal), [asdict(link) for link in links])
            connection.execute(
                update(heads).where(heads.c.rollout == rollout).values(seq=links[-1].seq, hash=links[-1].hash)
            )
        written = datetime.fromisoformat(at)
        return tuple(Entry(link.seq, written, body) for link, body in zip(links, decoded, strict=True))

    def read(self, rollout: str, after_seq: int = 0) -> tuple[Entry, ...]:
        """Entries with a higher seq, in order. Raises `NotFound` for an unknown rollout when read from the start."""
        query = (
            select(journal.c.seq, journal.c.at, journal.c.type, journal.c.content)
            .where(journal.c.rollout == rollout, journal.c.seq > after_seq)
            .order_by(journal.c.seq)
        )
        with translated(self._label), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        if not rows and after_seq == 0:
            raise self._unknown(rollout)
        return tuple(self._entry(rollout, row) for row in rows)

    def _entry(self, rollout: str, row: Row[*tuple[Any, ...]]) -> Entry:
        try:
            return Entry(row.seq, datetime.fromisoformat(row.at), decode_body(row.type, json.loads(row.content)))
        except (DecodeError, KeyError, ValueError, AttributeError) as error:
            raise Refused(
                "journal-unreadable",
                f"cannot read entry {row.seq} ({row.type}) of {rollout}: {error}",
                hint="it was edited (rollout state check tells), or written by a newer program: use that one",
            ) from error

    def _unknown(self, rollout: str) -> NotFound:
        return NotFound(
            "rollout-not-found", f"cannot find a rollout {rollout!r} in {self._label}", hint="see: rollout status"
        )

    def save_observations(self, rollout: str, attempt: str, observations_: Sequence[Observation]) -> None:
        """Store observations as received."""
        rows = [
            {
                "rollout": rollout,
                "node": item.node,
                "attempt": attempt,
                "probe": item.probe,
                "at": utc_text(item.at),
                "error": item.error,
                "code": item.code,
                "document": zlib.compress(json.dumps(item.document).encode()),
            }
            for item in observations_
        ]
        if not rows:
            return
        with self._writing() as connection:
            if connection.scalar(select(rollouts.c.id).where(rollouts.c.id == rollout)) is None:
                raise self._unknown(rollout)
            connection.execute(insert(observations), rows)

    def observations(self, rollout: str, node: str, attempt: str | None = None) -> tuple[tuple[str, Observation], ...]:
        """Stored observations of a node as (attempt, observation), oldest first."""
        query = (
            select(observations)
            .where(observations.c.rollout == rollout, observations.c.node == node)
            .order_by(observations.c.number)
        )
        if attempt is not None:
            query = query.where(observations.c.attempt == attempt)
        with translated(self._label), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return tuple((row.attempt, observation_of(row)) for row in rows)

    def exclusive(self, rollout: str) -> AbstractContextManager[None]:
        """Hold the one right to apply from this state."""
        return self._lock.hold(f"apply {rollout}")

    def verify_chain(self) -> tuple[ChainFault, ...]:
        """Every place where a journal was edited, cut or reordered."""
        with self.reading() as connection:
            return tuple(journal_faults(connection))

    def commits(self) -> int:
        """Write transactions committed by this object so far."""
        return self._commits

    def close(self) -> None:
        """Close connections."""
        self._engine.dispose()


def observation_of(row: Row[*tuple[Any, ...]]) -> Observation:
    """An observation from its row."""
    document = json.loads(zlib.decompress(row.document))
    return Observation(row.node, row.probe, datetime.fromisoformat(row.at), document, row.error, row.code)


def _inode(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


# The type as text in the statement, not as a parameter: else SQLite does not see that the partial index fits.
_DECISIONS = (
    select(journal.c.rollout, journal.c.at, journal.c.content)
    .where(journal.c.type == literal_column("'rollout-decided'"))
    .order_by(journal.c.rollout, journal.c.seq)
)


def _started(connection: Connection) -> dict[str, datetime]:
    """When each rollout was started: by its first `start` decision."""
    started: dict[str, datetime] = {}
    for row in connection.execute(_DECISIONS):
        if row.rollout not in started and json.loads(row.content)["event"] == RolloutEvent.START.value:
            started[row.rollout] = datetime.fromisoformat(row.at)
    return started
