"""How long an experiment takes, and when it is decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp

from tests.store.samples import crash
from triage.insight.correlate import Attribute
from triage.insight.plan import load, needed, otherwise, progress, trials
from triage.model import Change, Crash, Snapshot

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_three_crashes_due_and_none_seen_prove_it() -> None:
    assert abs(needed(1.0) - 3.1) < 0.01
    assert needed(0.0) == float("inf")
    assert exp(-needed(1.0)) < 0.05


def experiment(days_ago: float) -> Change:
    time = NOW - timedelta(days=days_ago)
    return Change(time=time.timestamp(), kind="experiment", what="opcache.jit=disable", source="", host="web-1")


def crashes(*days_ago: float, host: str = "web-1") -> list[Crash]:
    return [crash(f"c{at}", time=NOW - timedelta(days=ago), host=host) for at, ago in enumerate(days_ago)]


def test_an_experiment_is_decided_either_way_or_stays_open() -> None:
    found = [
        progress(experiment(4), crashes(9, 8, 7, 6), 1.0, 1.0, NOW.timestamp()),
        progress(experiment(4), crashes(3.5, 3, 2, 1), 1.0, 1.0, NOW.timestamp()),
        progress(experiment(1), crashes(9, 8), 1.0, 1.0, NOW.timestamp()),
        progress(experiment(4), crashes(3, 2, 1, host="web-2"), 1.0, 1.0, NOW.timestamp()),
    ]

    assert [(one.verdict, one.seen) for one in found] == [("helps", 0), ("no help", 4), ("open", 0), ("helps", 0)]
    assert abs(found[2].days - 2.1) < 0.01
    assert found[0].days == 0


def test_a_small_share_takes_longer() -> None:
    one = progress(experiment(4), [], 1.0, 0.25, NOW.timestamp())

    assert (one.verdict, one.expected) == ("open", 1.0)
    assert abs(one.days - (needed(0.25) - 4)) < 0.01


def test_requests_are_told_from_snapshots() -> None:
    snapshot = Snapshot(
        host="h", pool="www", sapi=None, version=None, options={}, extensions={}, libraries={}, first_seen=NOW,
        last_seen=NOW, workers=10, ages=(1000, 1000), requests=(100, 300),
    )  # fmt: skip

    assert load(2.0, [snapshot]).requests == 0.2 * 86_400 * 10
    assert load(2.0, []).requests is None


def test_what_to_set_otherwise() -> None:
    asked = [("option", "opcache.jit", "tracing"), ("option", "a", "1"), ("option", "b", ""), ("option", "m", "256M"),
             ("extension", "apcu", "5.1")]  # fmt: skip
    assert [otherwise(Attribute(*one)) for one in asked] == [
        "opcache.jit=disable", "a=0", "b=1", "m back to its default (take its line out)", "extension apcu off",
    ]  # fmt: skip


def test_a_condition_is_tried_where_most_crashes_fell() -> None:
    def pool(host: str) -> Snapshot:
        return Snapshot(host=host, pool="www", sapi=None, version=None, options={}, extensions={}, libraries={},
                        first_seen=NOW, last_seen=NOW, workers=10, ages=(1000,), requests=(100,))  # fmt: skip

    affected = [pool("web-1"), pool("web-2"), pool("web-3")]
    conditions = (frozenset({Attribute("option", "a", "1")}), frozenset({Attribute("option", "b", "1")}))
    fell = {("web-2", "www"): 5, ("web-3", None): 15, ("web-9", "www"): 7}

    found = list(trials(conditions, affected, load(4.0, affected), fell))

    assert [(one.host, one.change, one.share) for one in found] == [("web-3", "a=0", 0.75), ("web-2", "b=0", 0.25)]
    assert abs(found[0].days - needed(3.0)) < 1e-9
    assert [one.share for one in trials(conditions, affected, load(4.0, affected), {})] == [1 / 3, 1 / 3]
