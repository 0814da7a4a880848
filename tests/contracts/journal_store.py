"""The duties of `JournalStore`, for any implementation.

Derive a class from `JournalStoreContract` and give it a fixture `open_again`: each call opens the same fresh state once
more, as another process would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rollout.domain.codec import canonical, sha256
from rollout.domain.errors import Conflict, NotFound, Refused, RolloutError, UsageError
from rollout.domain.inventory import Observation
from rollout.domain.journal import Approved, Body, Intent, Outcome, PlanSaved, Result, RolloutDecided, Waiting
from rollout.domain.lifecycle import RolloutEvent
from rollout.domain.step import StepKind, Track
from rollout.ports.store import JournalStore, RolloutRecord

OpenAgain = Callable[[], JournalStore]
NOW = datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)
UMLAUT = "Zürich \u2028 \x00 🦈"


def later(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def plan_text(number: int) -> bytes:
    return canonical({"schema": 1, "serial": number, "program": UMLAUT})


def save(store: JournalStore, number: int = 1, cluster: str = "c-1", now: datetime = NOW) -> RolloutRecord:
    document = plan_text(number)
    return store.save_plan(document, digest=sha256(document), cluster=cluster, purpose="rollout", now=now)


def start(store: JournalStore, rollout: str, now: datetime = NOW) -> None:
    store.append(rollout, [RolloutDecided(RolloutEvent.APPROVE), RolloutDecided(RolloutEvent.START, "apply")], now=now)


def waiting(number: int) -> Waiting:
    return Waiting(f"node-{number}", StepKind.DRAIN, UMLAUT)


def in_tree(error: RolloutError, code: str) -> None:
    assert error.code == code
    assert error.message.startswith("cannot ")
    assert error.hint


class JournalStoreContract:
    """The suite."""

    @pytest.fixture
    def store(self, open_again: OpenAgain) -> JournalStore:
        return open_again()

    # -- plans -------------------------------------------------------------------------------------------------------

    def test_identity_is_of_the_state(self, store: JournalStore, open_again: OpenAgain) -> None:
        assert len(store.id) == 36
        assert open_again().id == store.id

    def test_plan_comes_back_byte_for_byte(self, store: JournalStore, open_again: OpenAgain) -> None:
        record = save(store)
        document = plan_text(1)
        assert record == RolloutRecord(sha256(document)[:12], sha256(document), "c-1", "rollout", NOW, None)
        assert open_again().load_plan(record.id) == document
        assert open_again().find(record.digest) == record

    def test_saving_opens_the_journal(self, store: JournalStore) -> None:
        record = save(store)
        (entry,) = store.read(record.id)
        assert (entry.seq, entry.at, entry.body) == (1, NOW, PlanSaved(record.digest, "c-1"))

    def test_saving_twice_saves_once(self, store: JournalStore, open_again: OpenAgain) -> None:
        first = save(store)
        assert save(open_again(), now=later(60)) == first
        assert len(store.read(first.id)) == 1
        assert store.rollouts() == (first,)

    def test_same_plan_saved_by_many_at_once(self, open_again: OpenAgain) -> None:
        stores = [open_again() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            records = set(pool.map(save, stores))
        assert len(records) == 1
        assert len(stores[0].read(records.pop().id)) == 1

    def test_prefixes(self, store: JournalStore) -> None:
        record = save(store)
        for length in (6, 11, 12, 13, 64):
            assert store.find(record.digest[:length]) == record
            assert store.load_plan(record.digest[:length]) == plan_text(1)
        for wrong in ("", record.digest[:5], "zzzzzz", record.digest[:6] + "%", "______", record.digest + "0"):
            with pytest.raises(NotFound) as caught:
                store.find(wrong)
            in_tree(caught.value, "rollout-not-found")

    def test_ambiguous_prefix(self, store: JournalStore) -> None:
        by_prefix: dict[str, int] = {}
        for number in range(100_000):  # two plans whose digests begin alike; found once, always the same
            prefix = sha256(plan_text(number))[:6]
            if prefix in by_prefix:
                break
            by_prefix[prefix] = number
        one, two = save(store, by_prefix[prefix]), save(store, number)
        with pytest.raises(UsageError) as caught:
            store.find(prefix)
        in_tree(caught.value, "rollout-ambiguous")
        assert store.find(one.id) == one
        assert store.find(two.id) == two

    def test_rollouts_oldest_first_with_their_start(self, store: JournalStore) -> None:
        ids = [save(store, number).id for number in range(5)]  # one tick of the clock for all
        start(store, ids[3], later(5))
        store.append(ids[3], [RolloutDecided(RolloutEvent.HOLD), RolloutDecided(RolloutEvent.RESUME)], now=later(9))
        assert [r.id for r in store.rollouts()] == ids
        assert [r.started for r in store.rollouts()] == [None, None, None, later(5), None]
        assert store.find(ids[3]).started == later(5)

    def test_serial_counts_the_started_of_one_cluster(self, store: JournalStore) -> None:
        assert store.serial("c-1") == 1
        one, two, other = save(store, 1), save(store, 2), save(store, 3, "c-2")
        assert store.serial("c-1") == 1
        for record in (one, two, other):
            start(store, record.id)
        assert (store.serial("c-1"), store.serial("c-2"), store.serial("c-3")) == (3, 2, 1)

    # -- journal -----------------------------------------------------------------------------------------------------

    def test_entries_come_back_as_given(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout = save(store).id
        before = {"unschedulable": False, "taints": ["a", "b"], "revision": 7, "none": None, "text": UMLAUT}
        bodies: list[Body] = [
            Approved("d" * 64, "Ada", "CHG-1", later(3600)),
            Intent("n1", Track.FORWARD, StepKind.DRAIN, 1, before, later(600), 42),
            Outcome("n1", Track.FORWARD, StepKind.DRAIN, 1, Result.DONE, evidence={"moved": 3}),
        ]
        written = store.append(rollout, bodies, now=later(1))
        assert [e.body for e in written] == bodies
        assert [e.seq for e in written] == [2, 3, 4]
        assert open_again().read(rollout) == (store.read(rollout)[0], *written)

    def test_times_are_utc_to_the_microsecond(self, store: JournalStore) -> None:
        rollout = save(store).id
        local = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
        (entry,) = store.append(rollout, [waiting(1)], now=local)
        (read,) = store.read(rollout, 1)
        assert entry.at == read.at == NOW
        assert read.at.tzinfo is UTC
        with pytest.raises(ValueError, match="time zone"):
            store.append(rollout, [waiting(2)], now=NOW.replace(tzinfo=None))

    def test_reading_after(self, store: JournalStore) -> None:
        rollout = save(store).id
        written = store.append(rollout, [waiting(n) for n in range(4)], now=NOW)
        assert store.read(rollout, 3) == written[2:]
        assert store.read(rollout, 5) == ()
        assert store.read(rollout, 99) == ()

    def test_unknown_rollout(self, store: JournalStore) -> None:
        save(store)
        seen = Observation("n1", "links", NOW, {})
        for act in (
            lambda: store.read("0" * 12),
            lambda: store.append("0" * 12, [waiting(1)], now=NOW),
            lambda: store.save_observations("0" * 12, "a/1", [seen]),
            lambda: store.load_plan("0" * 12),
        ):
            with pytest.raises(NotFound) as caught:
                act()
            in_tree(caught.value, "rollout-not-found")

    def test_expected_seq(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout = save(store).id
        store.append(rollout, [waiting(1)], now=NOW, expect_seq=1)
        with pytest.raises(Conflict) as caught:
            open_again().append(rollout, [waiting(2), waiting(3)], now=NOW, expect_seq=1)
        in_tree(caught.value, "journal-moved")
        assert len(store.read(rollout)) == 2

    def test_all_or_nothing(self, store: JournalStore) -> None:
        rollout = save(store).id
        bad = Outcome("n1", Track.FORWARD, StepKind.DRAIN, 1, Result.DONE, evidence={"ratio": 0.5})
        with pytest.raises(TypeError):
            store.append(rollout, [waiting(1), bad], now=NOW)
        assert len(store.read(rollout)) == 1
        assert store.verify_chain() == ()

    def test_returned_entries_are_what_is_stored(self, store: JournalStore) -> None:
        rollout = save(store).id
        evidence = {"probes": ["links", "path"]}
        given = Outcome("n1", Track.FORWARD, StepKind.DRAIN, 1, Result.DONE, evidence=evidence)
        (entry,) = store.append(rollout, [given], now=NOW)
        evidence["probes"].append("drops")
        assert store.read(rollout, 1) == (entry,)
        assert isinstance(entry.body, Outcome)
        assert entry.body.evidence == {"probes": ["links", "path"]}

    def test_many_threads_append_without_gaps(self, store: JournalStore, open_again: OpenAgain) -> None:
        one, two = save(store, 1).id, save(store, 2).id
        handles = [store, store, open_again(), open_again()]

        def write(index: int) -> None:
            for number in range(6):
                handles[index].append((one, two)[number % 2], [waiting(index), waiting(number)], now=NOW)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        for rollout in (one, two):
            assert [e.seq for e in store.read(rollout)] == list(range(1, 26))
        assert store.verify_chain() == ()

    def test_of_two_with_one_expectation_one_wins(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout = save(store).id
        gate = threading.Barrier(2)

        def attempt(handle: JournalStore) -> bool:
            gate.wait()
            try:
                handle.append(rollout, [waiting(1)], now=NOW, expect_seq=1)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(attempt, [store, open_again()])) == [False, True]

    def test_commits_are_counted_by_transaction(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout = save(store).id
        assert store.commits() == 1
        store.append(rollout, [waiting(n) for n in range(10)], now=NOW)
        assert store.commits() == 2
        assert store.append(rollout, [], now=NOW) == ()
        store.save_observations(rollout, "a/1", [])
        store.read(rollout)
        assert store.commits() == 2
        with pytest.raises(Conflict):
            store.append(rollout, [waiting(1)], now=NOW, expect_seq=1)
        assert store.commits() == 2
        assert open_again().commits() == 0

    # -- observations ------------------------------------------------------------------------------------------------

    def test_observations_as_received_oldest_first(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout, other = save(store, 1).id, save(store, 2).id
        links = Observation("n1", "links", later(9), {"schema": 1, "rate": 0.25, "kinds": {"veth": 3}, "text": UMLAUT})
        failed = Observation("n1", "path", later(1), error="timed out", code="bpf-unavailable")
        store.save_observations(rollout, "baseline/1", [links, failed])
        store.save_observations(rollout, "verify/1", [links, Observation("n2", "links", NOW, {})])
        store.save_observations(other, "baseline/1", [failed])
        again = open_again()
        assert again.observations(rollout, "n1") == (
            ("baseline/1", links),
            ("baseline/1", failed),
            ("verify/1", links),
        )
        assert again.observations(rollout, "n1", "verify/1") == (("verify/1", links),)
        assert again.observations(rollout, "n3") == ()
        assert store.commits() == 5

    # -- the right to apply ------------------------------------------------------------------------------------------

    def test_exclusive_among_all_handles_and_rollouts(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout, other = save(store, 1).id, save(store, 2).id
        with store.exclusive(rollout):
            for handle, wanted in ((store, rollout), (open_again(), other)):
                with pytest.raises(Refused) as caught, handle.exclusive(wanted):
                    raise AssertionError("two hold it")
                in_tree(caught.value, "already-running")
            open_again().append(rollout, [waiting(1)], now=NOW)  # it does not exclude a person's pause
        with open_again().exclusive(other):
            pass

    def test_exclusive_is_given_back_after_an_error(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout = save(store).id
        with pytest.raises(KeyError), store.exclusive(rollout):
            raise KeyError
        with open_again().exclusive(rollout):
            pass

    def test_one_of_many_gets_it(self, store: JournalStore, open_again: OpenAgain) -> None:
        rollout = save(store).id
        handles = [open_again() for _ in range(4)]
        tried = threading.Barrier(4)

        def attempt(handle: JournalStore) -> bool:
            try:
                with handle.exclusive(rollout):
                    tried.wait(20)
            except Refused:
                tried.wait(20)
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(attempt, handles)) == [False, False, False, True]

    def test_closing_twice(self, store: JournalStore) -> None:
        save(store)
        store.close()
        store.close()
