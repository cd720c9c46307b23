"""What a store remembers of its last write never outlives somebody else's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event

from triage.errors import TriageError
from triage.filing import filed
from triage.model import Crash, Decision, State
from triage.store import Store, open_store, writes
from triage.wire import outcome_to_json

from .samples import START, crash, failed, triaged


def like(id_: str, **changed: object) -> Crash:
    """A crash with the signature of every other one here."""
    return replace(crash(), id=id_, core=f"/cores/{id_}", **changed)  # type: ignore[arg-type]


def save(store: Store, found: Crash) -> str:
    """Save it; the cluster it came to."""
    kept = store.save(triaged(found), None).crash
    assert kept is not None
    assert kept.cluster is not None
    return kept.cluster


def other(id_: str) -> Crash:
    """A crash with another signature."""
    found = crash()
    assert found.signature is not None
    signature = replace(found.signature, key="v1:quite-another", title="quite another", aliases=(), steps=())
    return replace(found, id=id_, core=f"/cores/{id_}", signature=signature, threads=(), runtime=None)


def test_crashes_alike_take_few_statements(store: Store) -> None:
    save(store, like("aa01"))
    save(store, like("aa02"))
    heard: list[str] = []
    event.listen(store._engines.reader, "before_cursor_execute", lambda *given: heard.append(str(given[2])))
    save(store, like("aa03"))
    assert len(heard) <= 5


def test_a_merge_by_another_program_counts_for_the_next_crash(store: Store, url: str) -> None:
    first, into = save(store, like("aa01")), save(store, other("bb01"))
    assert save(store, like("aa02")) == first != into
    with open_store(url) as second:
        second.merge(first, into)
    assert save(store, like("aa03")) == into
    assert {cluster.id: cluster.count for cluster in store.clusters()} == {into: 4}


def test_a_split_by_another_program_counts_for_the_very_crash(store: Store, url: str) -> None:
    first = save(store, like("aa01"))
    save(store, like("aa02"))
    with open_store(url) as second:
        apart = second.split(["aa02"]).target
    assert save(store, like("aa02")) == apart != first


def test_facts_of_another_program_are_not_written_over(store: Store, url: str) -> None:
    save(store, like("aa01"))
    with open_store(url) as second:
        save(second, like("aa02", host="web7"))
    save(store, like("aa03"))
    with open_store(url) as third:
        assert [cluster.count for cluster in third.clusters()] == [3]


def test_own_decisions_between_two_crashes_are_seen(store: Store) -> None:
    first = save(store, like("aa01"))
    store.mark(first, Decision(state=State.KNOWN, at=START, by="ann"))
    assert save(store, like("aa02")) == first
    assert [cluster.state for cluster in store.clusters()] == [State.KNOWN]


def test_a_write_that_fails_leaves_nothing_remembered(store: Store) -> None:
    first = save(store, like("aa01"))
    with pytest.raises((OverflowError, TriageError)):
        store.save(triaged(like("aa02", pid=1 << 70)), None)  # no database has such numbers
    assert store._recent.revision is None
    assert save(store, like("aa03")) == first
    assert [cluster.count for cluster in store.clusters()] == [2]


def test_what_comes_together_is_kept_as_one_after_the_other_is(store: Store, sqlite_url: str) -> None:
    given = [triaged(like("aa01")), triaged(other("bb01")), failed("/cores/x"), triaged(like("aa02", pid=7)),
             triaged(like("aa01", host="web9")), triaged(other("bb02"))]  # fmt: skip
    kept = store.save_all([(filed(one), None) for one in given])
    with open_store(f"{sqlite_url}-alone") as alone:
        expected = [alone.save(one, None) for one in given]
        assert [json.loads(one.text) for one in kept] == [outcome_to_json(one) for one in expected]
        assert store.clusters() == alone.clusters()
        assert store.crash_rows() == alone.crash_rows()
        assert store.failures() == alone.failures()
        assert [store.crash(id_) for id_ in ("aa01", "aa02")] == [alone.crash(id_) for id_ in ("aa01", "aa02")]
        assert store.arrived(START) == alone.arrived(START)


def test_one_that_cannot_be_kept_takes_none_before_it_along(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put = writes.put_inputs

    def refusing(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        if any(row["crash"] == "aa02" for row in rows):
            raise TriageError("the disk is full")
        put(connection, rows)

    monkeypatch.setattr(writes, "put_inputs", refusing)
    with pytest.raises(TriageError, match="the disk is full"):
        store.save_all([(filed(triaged(like(name))), None) for name in ("aa01", "aa02", "aa03")])
    assert [row.id for row in store.crash_rows()] == ["aa01"]
