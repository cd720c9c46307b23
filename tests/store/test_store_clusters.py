"""Which cluster a crash comes to, and what a person can change about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import create_engine, text

from triage.cluster import signature
from triage.cluster.signature import signature_of
from triage.errors import UsageError
from triage.model import Crash, Frame, Incident, Module, Symbols, Thread
from triage.store import Store, migrations, open_store

from .samples import STAMP, at, crash, triaged

PHP, EXT = "/usr/bin/php8.2", "/usr/lib/php/redis.so"
MODULES = tuple(
    Module(path=path, build_id=build * 20, start=0x1000, end=0x9000, symbols=Symbols.DYNAMIC)
    for path, build in ((PHP, "aa"), (EXT, "cc"))
)


def native(function: str, offset: int, module: str = EXT) -> Frame:
    return Frame(kind="native", function=function, module=module, offset=offset, address=0x7000_0000 + offset)


def php(function: str, *, opcode: str = "ZEND_DO_FCALL") -> Frame:
    return Frame(kind="php", function=function, file="/srv/x.php", line=3, opcode=opcode)


def died(id_: str, *frames: Frame, time: datetime | None = None) -> Crash:
    thread = Thread(id=7, name="php", crashed=True, depth=len(frames), truncated=False, frames=frames)
    whole = replace(crash(id_, time=time or at(0)), threads=(thread,), modules=MODULES)
    return replace(whole, signature=signature_of(whole))


def save(store: Store, found: Crash) -> str:
    saved = store.save(triaged(found), STAMP).crash
    assert saved is not None
    assert saved.cluster is not None
    return saved.cluster


STRIPPED = (native("sub_40", 0x48), native("sub_90", 0x9C), php("total"))
NAMED = (native("redis_parse", 0x48), native("redis_read", 0x9C), php("total"))
OTHER = (native("redis_connect", 0x400), native("redis_pool_get", 0x500), php("show"))


def test_a_core_is_the_same_crash_with_symbols_and_without(store: Store) -> None:
    assert save(store, died("aa01", *STRIPPED)) == save(store, died("aa02", *NAMED))
    # The cluster owns both keys now: another core of either kind finds it, another instruction or not.
    moved = (native("redis_parse", 0x4C), native("redis_read", 0x9C), php("total"))
    assert save(store, died("aa03", *moved)) == save(store, died("aa04", *STRIPPED))
    assert [cluster.count for cluster in store.clusters()] == [4]


def test_triaging_again_with_symbols_keeps_the_cluster(store: Store) -> None:
    first = save(store, died("aa01", *STRIPPED))
    assert save(store, died("aa01", *NAMED)) == first
    assert [cluster.count for cluster in store.clusters()] == [1]


def test_other_places_are_other_clusters(store: Store) -> None:
    assert save(store, died("aa01", *NAMED)) != save(store, died("aa02", *OTHER))


def test_a_crash_that_links_two_clusters_redirects_the_younger(store: Store) -> None:
    # Without symbols and in another build the two had nothing in common.
    older = save(store, died("aa01", *STRIPPED, time=at(0)))
    younger = save(store, died("aa02", *OTHER, time=at(60)))
    both = replace(died("aa03", *STRIPPED, time=at(120)))
    assert both.signature is not None
    linked = signature_of(died("aa02", *OTHER)).key
    both = replace(both, signature=replace(both.signature, aliases=(linked,)))

    assert save(store, both) == older
    assert store.cluster(younger).id == older  # the old id leads on
    assert [cluster.count for cluster in store.clusters()] == [3]
    change = store.regroupings()[0]
    assert (change.kind, change.cluster, change.target, change.by) == ("merge", younger, older, "triage")


def test_a_merge_by_hand_holds_for_later_crashes_and_can_be_undone(store: Store) -> None:
    one, other = save(store, died("aa01", *NAMED)), save(store, died("aa02", *OTHER))
    change = store.merge(other, one, "one fix")

    assert (change.kind, change.cluster, change.target, change.by, change.why) == (
        "merge",
        other,
        one,
        "user",
        "one fix",
    )
    assert save(store, died("aa03", *OTHER)) == one
    assert [cluster.count for cluster in store.clusters()] == [3]
    with pytest.raises(UsageError, match="already"):
        store.merge(other, one)

    assert store.undo_regrouping(change.number).undone is not None
    # The crash that came meanwhile goes back as well.
    assert {cluster.id: cluster.crashes for cluster in store.clusters()} == {one: ("aa01",), other: ("aa02", "aa03")}
    assert save(store, died("aa04", *OTHER)) == other
    with pytest.raises(UsageError, match="no change"):
        store.undo_regrouping(change.number)


def test_a_split_holds_for_later_crashes_and_for_the_same_core_again(store: Store) -> None:
    whole = save(store, died("aa01", *NAMED))
    alike = (native("redis_scan", 0x700), native("redis_read", 0x9C), php("total"))
    store.merge(save(store, died("aa02", *alike)), whole)
    change = store.split(["aa02"], "another bug")

    assert change.target != whole
    assert save(store, died("aa02", *alike)) == change.target
    assert save(store, died("aa03", *alike)) == change.target
    assert save(store, died("aa04", *NAMED)) == whole

    store.undo_regrouping(change.number)
    assert save(store, died("aa05", *alike)) == whole


def test_a_split_takes_crashes_of_one_cluster_and_not_all(store: Store) -> None:
    save(store, died("aa01", *NAMED))
    save(store, died("aa02", *OTHER))
    with pytest.raises(UsageError, match="not of one cluster"):
        store.split(["aa01", "aa02"])
    with pytest.raises(UsageError, match="all the crashes"):
        store.split(["aa01"])
    assert store.regroupings() == []


def test_a_store_of_schema_2_keeps_its_clusters(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        first = save(store, died("aa01", *NAMED))
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        for table in (
            "keys",
            "words",
            "exemplars",
            "redirects",
            "regroupings",
            "moves",
            "apart",
            "pins",
            "victims",
            "arrivals",
            "reports",
        ):
            connection.execute(text(f"DROP TABLE triage_{table}"))
        connection.execute(text("UPDATE triage_meta SET value = 2 WHERE key = 'schema'"))
    engine.dispose()

    with open_store(sqlite_url) as store:
        assert save(store, died("aa02", *NAMED)) == first
        assert store.regroupings() == []
        with store._engines.reader.connect() as connection:
            assert migrations.is_current(connection)


def test_new_rules_learn_new_keys_and_move_no_crash(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person decided stays: the cluster owns the old keys and the new ones."""
    first = save(store, died("aa01", *NAMED))
    assert store.resign() == 1  # a store that no rules were written down for
    assert store.resign() == 0

    monkeypatch.setattr(signature, "VERSION", "v99")
    assert store.resign() == 1
    assert {cluster.id: cluster.crashes for cluster in store.clusters()} == {first: ("aa01",)}
    found = died("aa02", *NAMED)
    assert found.signature is not None
    assert found.signature.key.startswith("v99:")
    assert save(store, found) == first


def test_one_crash_like_two_clusters_makes_them_one(store: Store) -> None:
    inner, outer = native("redis_parse", 0x48), native("redis_read", 0x9C)
    one = save(store, died("aa01", inner, outer, native("redis_get", 0x200), time=at(0)))
    two = save(store, died("aa02", inner, outer, native("redis_set", 0x300), time=at(9)))
    assert one == two


CORRUPT = ("heap-corrupted", "heap:_emalloc_56")


def victim(id_: str, *frames: Frame, rax: int = 0x4141414141414141) -> Crash:
    found = replace(died(id_, *frames), registers={"rip": 0x55D040, "rax": rax})
    assert found.signature is not None
    return replace(found, signature=replace(found.signature, markers=CORRUPT))


def test_victims_of_one_corruption_are_one_incident_and_several_clusters(store: Store) -> None:
    clusters = {save(store, victim("aa01", *NAMED)), save(store, victim("aa02", *OTHER))}
    assert store.incidents()[0].count == 2
    assert store.incidents() == [
        Incident(
            what="blocks of 56 bytes; the byte 0x41 over and over; JIT off; build c0ffee",
            clusters=tuple(sorted(clusters)),
            count=2,
            first_seen=at(0),
            last_seen=at(0),
        )
    ]
    assert len(clusters) == 2


def test_other_garbage_is_another_incident(store: Store) -> None:
    save(store, victim("aa01", *NAMED))
    save(store, victim("aa02", *OTHER, rax=int.from_bytes(b"customer", "little")))
    save(store, died("aa03", *OTHER))
    assert store.incidents() == []
