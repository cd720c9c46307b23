"""What a store remembers of its last write never outlives somebody else's."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import event

from triage.model import Crash, Decision, State
from triage.store import Store, open_store

from .samples import START, crash, triaged


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
    broken = replace(like("aa02"), arguments=(object(),))  # type: ignore[arg-type]
    try:
        store.save(triaged(broken), None)
    except TypeError:
        pass
    else:
        raise AssertionError("such a record cannot be written")
    assert store._recent.revision is None
    assert save(store, like("aa03")) == first
    assert [cluster.count for cluster in store.clusters()] == [2]
