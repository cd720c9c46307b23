"""What the store keeps beside crashes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from triage.model import Change, KnownBug, Snapshot
from triage.store import Store

from .samples import STAMP, START, at, crash, triaged

SNAPSHOT = Snapshot(
    host="web-1", pool="www", sapi="fpm-fcgi", version="8.2.36", options={"memory_limit": "128M", "x": None},
    extensions={"Core": "8.2.36"}, libraries={"libc.so": "ab12"}, first_seen=START, last_seen=START, workers=3,
    ages=(5, 6), requests=(7,), scripts=("/srv/a.php",),
)  # fmt: skip


def test_a_configuration_seen_again_is_one_row(store: Store) -> None:
    store.add_snapshot(SNAPSHOT)
    later = START + timedelta(hours=1)
    store.add_snapshot(
        replace(SNAPSHOT, first_seen=later, last_seen=later, workers=2, ages=(9,), requests=(), scripts=())
    )
    store.add_snapshot(replace(SNAPSHOT, pool="api"))

    assert store.snapshots() == [
        replace(SNAPSHOT, last_seen=later, workers=2, ages=(5, 6, 9)), replace(SNAPSHOT, pool="api")
    ]  # fmt: skip


def test_changes_come_back_in_order_and_once(store: Store) -> None:
    one = Change(time=START.timestamp(), kind="deploy", what="shop 2", source="told", host="web-1",
                 packages={"php": ("1", None)}, options={"a": (None, "b")}, paths=("/etc/x\udcff",))  # fmt: skip
    two = replace(one, time=one.time - 5)
    for change in (one, two, one):
        store.add_change(change)

    assert store.changes() == [two, one]


def test_bugs_on_file_are_replaced_by_a_newer_build(store: Store) -> None:
    bug = KnownBug(bug="GH-1", signature="v1:x", title="t", frames=("a!b",), fixed=("8.4.2",), entry=None,
                   killed="8.2.36", source="php8.4 8.4.24", script="<?php", settings=("a=1",))  # fmt: skip
    store.add_known_bugs([bug, replace(bug, bug="GH-2")])
    store.add_known_bugs([replace(bug, title="new")])

    assert store.known_bugs() == [replace(bug, title="new"), replace(bug, bug="GH-2")]


def test_crashes_in_bulk_of_one_cluster_and_of_the_others(store: Store) -> None:
    for number in range(4):
        key = "v1:one" if number < 3 else "v1:two"
        store.save(triaged(crash(f"c{number}", key=key, time=at(number))), STAMP)
    (cluster,) = [one for one in store.clusters() if one.count == 3]

    assert [one.id for one in store.crashes(cluster.id)] == ["c2", "c1", "c0"]
    assert [one.id for one in store.crashes(cluster.id, limit=1)] == ["c2"]
    assert [one.id for one in store.other_crashes(cluster.id)] == ["c3"]
    assert store.crash_times(cluster.id) == [(at(0), "web-1"), (at(1), "web-1"), (at(2), "web-1")]
    assert len(store.crash_times()) == 4
