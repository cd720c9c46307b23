"""Decisions about clusters: kept, taken back, and held against the crashes by their own times."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import Engine, create_engine, inspect

from tests.tui.samples import whole
from triage import clock
from triage.errors import UsageError
from triage.model import Change, Decision, Flag, State, Status
from triage.query import crash_matches, deploys, parse_query
from triage.states.rollout import names
from triage.store import Store, backfill, open_store

from . import schema1
from .samples import START, at, crash, triaged

CLUSTER = f"C-{sha256(b'v1:zend_execute').hexdigest()[:6]}"
HOUR = 3600


def decision(state: State, **more: object) -> Decision:
    return Decision(state=state, at=at(10 * HOUR), by="ann", **more)  # type: ignore[arg-type]


def save(store: Store, *given: tuple[float, str, str]) -> None:
    """Crashes of (hours after START, host, version)."""
    known = len(store.crash_rows(limit=10_000))
    for number, (hours, host, version) in enumerate(given):
        one = crash(f"aa{known + number:04}", time=at(hours * HOUR), host=host, version=version)
        store.save(triaged(one), None)


def test_every_decision_is_kept_and_the_newest_holds(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"))
    known = decision(State.KNOWN, bug="https://bugs/1", note="like last year")
    fixed = replace(decision(State.FIXED, fixed_in="8.2.30"), at=at(11 * HOUR))
    store.mark(CLUSTER, known)
    marked = store.mark(CLUSTER, fixed)

    assert (marked.state, marked.note, marked.decision) == (State.FIXED, None, fixed)
    assert store.cluster(CLUSTER) == marked
    assert store.decisions(CLUSTER[:4]) == [fixed, known]


def test_undo_goes_back_step_by_step_and_forgets_nothing(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"))
    known, fixed = decision(State.KNOWN, note="x"), decision(State.FIXED)
    store.mark(CLUSTER, known)
    store.mark(CLUSTER, fixed)
    when = at(12 * HOUR)

    cluster, gone = store.undo(CLUSTER, at=when, by="bob")
    assert (cluster.state, cluster.note, cluster.decision, gone) == (State.KNOWN, "x", known, fixed)
    cluster, gone = store.undo(CLUSTER, at=when, by="bob")
    assert (cluster.state, cluster.note, cluster.decision, gone) == (State.NEW, None, None, known)
    assert store.undo(CLUSTER, at=when, by="bob") == (cluster, None)
    gone_ones = [replace(one, undone=when, undone_by="bob") for one in (fixed, known)]
    assert store.decisions(CLUSTER) == gone_ones

    again = store.mark(CLUSTER, known)
    assert (again.decision, len(store.decisions(CLUSTER))) == (known, 3)


def test_a_fixed_cluster_that_crashes_later_is_a_regression_and_one_read_late_is_not(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"))
    store.mark(CLUSTER, decision(State.FIXED))
    save(store, (9, "web1", "8.2.29"))  # an old core, imported after the decision
    assert store.cluster(CLUSTER).flags == ()

    save(store, (11, "web1", "8.2.29"))
    back = store.cluster(CLUSTER)
    assert back.flags == (Flag.REGRESSED,)
    assert back.remarks == (
        "crashed again on web1 at 2026-01-01T11:00:00Z; the fix is there since 2026-01-01T10:00:00Z",
    )
    assert back.open


def test_where_the_fix_is_not_rolled_out_a_crash_is_no_regression(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"), (0, "web3", "8.2.29"))
    store.mark(CLUSTER, decision(State.FIXED, fixed_in="8.2.30"))
    save(store, (11, "web3", "8.2.29"))
    waiting = store.cluster(CLUSTER)
    assert (waiting.flags, waiting.open) == ((Flag.PENDING,), False)
    assert waiting.remarks == (
        "still crashes on web3, where 8.2.30 is not rolled out yet, as far as is known: `triage event add` tells "
        "of a deploy",
    )

    # Another cluster shows that web1 runs the new version since hour 12; the old build goes on beside it.
    store.save(triaged(crash("bb01", key="v1:b", time=at(12 * HOUR), host="web1", version="8.2.30")), None)
    save(store, (13, "web1", "8.2.29"))
    assert store.cluster(CLUSTER).flags == (Flag.PENDING,)

    save(store, (14, "web1", "8.2.30"))
    back = store.cluster(CLUSTER)
    assert back.flags == (Flag.REGRESSED,)
    assert back.remarks == (
        "crashed again on web1 at 2026-01-01T14:00:00Z; the fix (8.2.30) is there since 2026-01-01T12:00:00Z",
    )


def deploy(hours: float, what: str, **more: object) -> Change:
    return Change(time=at(hours * HOUR).timestamp(), kind="deploy", what=what, source="test", **more)  # type: ignore[arg-type]


def test_a_recorded_deploy_tells_where_the_fix_is(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"), (0, "web2", "8.2.29"))
    store.mark(CLUSTER, decision(State.FIXED, fixed_in="v4.182"))
    for change in (
        deploy(1, "shop v4.1820"),  # another one
        deploy(12, "shop v4.182", host="web1"),
        deploy(12, "shop v4.182", host="web2", pool="admin"),  # which pool a crash was in is not known
    ):
        store.add_change(change)
    save(store, (11, "web1", "8.2.29"), (13, "web2", "8.2.29"))
    waiting = store.cluster(CLUSTER)
    assert waiting.flags == (Flag.PENDING,)
    assert waiting.remarks == ("still crashes on web1, web2, where v4.182 is not rolled out yet",)

    save(store, (14, "web1", "8.2.29"))
    back = store.cluster(CLUSTER)
    assert back.flags == (Flag.REGRESSED,)
    assert back.remarks == (
        "crashed again on web1 at 2026-01-01T14:00:00Z; the fix (v4.182) is there since 2026-01-01T12:00:00Z "
        "(shop v4.182)",
    )

    store.add_change(deploy(12.5, "shop v4.182"))  # on every host
    assert store.cluster(CLUSTER).remarks == (
        "crashed again on web1 at 2026-01-01T14:00:00Z; the fix (v4.182) is there since 2026-01-01T12:00:00Z "
        "(shop v4.182)",
    )
    assert {one.id for one in store.clusters(parse_query("is:regressed"))} == {CLUSTER}


def test_an_installed_package_tells_where_the_fix_is(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"))
    store.mark(CLUSTER, decision(State.FIXED, fixed_in="8.2.30"))
    packages = {"php8.2-fpm": ("8.2.29-1~deb12u1", "8.2.30-1~deb12u1")}
    store.add_change(deploy(11, "php8.2-fpm 8.2.29 → 8.2.30", host="web1", packages=packages))
    save(store, (12, "web1", "8.2.29"))  # a worker that was not restarted
    assert store.cluster(CLUSTER).flags == (Flag.PENDING,)
    save(store, (13, "web1", "8.2.30"))
    assert store.cluster(CLUSTER).flags == (Flag.REGRESSED,)


def test_a_cluster_that_comes_much_more_often_spikes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: at(21 * 24 * HOUR))
    save(store, *((24.0 * day, "web1", "8.2.29") for day in range(20)))
    assert store.cluster(CLUSTER).flags == ()
    save(store, *((20 * 24 + hour, "web1", "8.2.29") for hour in range(2, 11)))
    spiking = store.cluster(CLUSTER)
    assert spiking.flags == (Flag.SPIKING,)
    assert spiking.remarks == (
        "9 crashes in 24 hours, where about 1.0 would have been usual (raw counts: the traffic is not known)",
    )
    assert [one.id for one in store.clusters(parse_query("is:spiking"))] == [CLUSTER]


def test_a_fix_rolled_out_before_it_was_marked_counts_from_then(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"), (5, "web1", "8.2.29"))
    store.mark(CLUSTER, decision(State.FIXED, fixed_in="v4.182", since=at(4 * HOUR)))
    assert store.cluster(CLUSTER).flags == (Flag.REGRESSED,)
    assert store.cluster(CLUSTER).remarks == (
        "crashed again on web1 at 2026-01-01T05:00:00Z; the fix (v4.182) is there since 2026-01-01T04:00:00Z",
    )


@pytest.mark.parametrize(
    ("until", "kept", "quiet", "waking", "why"),
    [
        ("2 more", "2 more", [(11, "8.2.29")], [(12, "8.2.29")],
         "until it has crashed 2 more times: 2 crashes since"),
        (">1/h", ">1/h", [(11.1, "8.2.29"), (12.1, "8.2.29")], [(12.2, "8.2.29")],
         "until it crashes more than 1 times within an hour: 2 crashes in the hour from 2026-01-01T12:00:00Z"),
        (None, ">6/d", [(11 + n / 10, "8.2.29") for n in range(6)], [(13, "8.2.29")],
         "until it crashes more than 6 times within a day: 7 on 2026-01-01"),
        ("php changes", "not php 8.2.29", [(11, "8.2.29")], [(12, "8.4.1")],
         "until it crashes under another version than php 8.2.29: it did under php 8.4.1"),
    ],
)  # fmt: skip
def test_an_ignored_cluster_wakes_when_its_condition_comes_true(
    store: Store,
    until: str | None,
    kept: str,
    quiet: list[tuple[float, str]],
    waking: list[tuple[float, str]],
    why: str,
) -> None:
    save(store, *((hour, "web1", "8.2.29") for hour in (1, 2, 9.9)))
    marked = store.mark(CLUSTER, decision(State.IGNORED, until=until))
    assert marked.decision is not None
    assert (marked.decision.until, marked.open) == (kept, False)

    save(store, *((hour, "web1", version) for hour, version in [(3, "8.4.9"), *quiet]))
    assert (store.cluster(CLUSTER).flags, store.cluster(CLUSTER).open) == ((), False)
    save(store, *((hour, "web1", version) for hour, version in waking))
    awake = store.cluster(CLUSTER)
    assert (awake.flags, awake.open) == ((Flag.AWAKE,), True)
    assert awake.remarks == (f"it was ignored {why}",)


def test_a_day_wakes_an_ignored_cluster(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    save(store, (1, "web1", "8.2.29"))
    store.mark(CLUSTER, decision(State.IGNORED, until="3d"))

    def at_day(moment: datetime) -> tuple[Flag, ...]:
        monkeypatch.setattr(clock, "now", lambda: moment)
        return store.cluster(CLUSTER).flags

    assert at_day(START + timedelta(days=2, hours=23)) == ()
    assert at_day(START + timedelta(days=3)) == (Flag.AWAKE,)


def test_a_condition_that_is_none_changes_nothing(store: Store) -> None:
    save(store, (1, "web1", "8.2.29"))
    for wrong in ("soon", "2020-01-01", "-1 more", "php"):
        with pytest.raises(UsageError):
            store.mark(CLUSTER, decision(State.IGNORED, until=wrong))
    assert (store.decisions(CLUSTER), store.cluster(CLUSTER).state) == ([], State.NEW)


def test_a_note_added_later_does_not_move_the_time_from_which_crashes_count(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"))
    store.mark(CLUSTER, decision(State.FIXED))
    store.mark(CLUSTER, replace(decision(State.FIXED, note="why"), at=at(20 * HOUR), began=at(10 * HOUR)))
    save(store, (15, "web1", "8.2.29"))
    assert store.cluster(CLUSTER).flags == (Flag.REGRESSED,)


def test_many_decided_clusters_take_no_more_statements(sqlite_url: str) -> None:
    from .test_store import _statements

    with open_store(sqlite_url) as store:
        for number in range(40):
            store.save(triaged(crash(f"aa{number:02}", key=f"v1:{number}", time=at(0))), None)
        for cluster in store.clusters():
            store.mark(cluster.id, decision(State.FIXED, fixed_in="8.2.7"))
        statements = _statements(store)
        assert {cluster.flags for cluster in store.clusters()} == {(Flag.REGRESSED,)}
        assert len(statements) == 11


def test_crashes_a_day(store: Store) -> None:
    save(store, (0, "web1", "8"), (1, "web1", "8"), (25, "web1", "8"), (-30, "web1", "8"))
    day = START.toordinal() - datetime(1970, 1, 1).toordinal()
    assert store.per_day(START) == {CLUSTER: {day: 2, day + 1: 1}}
    assert store.per_day(START, CLUSTER) == {CLUSTER: {day: 2, day + 1: 1}}
    assert store.per_day(START, "C-none") == {}


def test_clusters_by_query(store: Store) -> None:
    save(store, (0, "web1", "8.2.29"), (5, "web2", "8.4.1"))
    other = crash("bb01", key="v1:abort", title="abort ◂ zend_gc_run", time=at(1), host="web9", version="7.4.33")
    store.save(triaged(replace(other, status=Status.PARTIAL, arguments=())), None)
    abort = f"C-{sha256(b'v1:abort').hexdigest()[:6]}"
    store.mark(abort, decision(State.KNOWN, bug="https://bugs/17654", note="jit, see wiki"))
    now = at(24 * HOUR)

    def ids(text: str) -> list[str]:
        return [cluster.id for cluster in store.clusters(parse_query(text, now=now))]

    both = [CLUSTER, abort]
    expected = {
        "": both,
        "sort:first": [abort, CLUSTER],
        "sort:n": both,
        "is:new": [CLUSTER], "is:open": [CLUSTER], "!is:open": [abort], "is:known,new": both, "is:partial": [abort],
        "n:2": [CLUSTER], "n:>1": [CLUSTER], "n:<2": [abort], "n:1..2": both, "n:>=2": [CLUSTER],
        "last:20h": [CLUSTER], "last:>20h": [abort], "first:2026-01-01": both, "first:>2026-01-01": [],
        "last:2025-12-31..2026-01-02": both,
        "host:web2": [CLUSTER], "host:web*": both, "host:web": [], "!host:web9": [CLUSTER],
        "php:8.2": [CLUSTER], "php:8": [CLUSTER], "php:7.4.33": [abort], "php:8.2.2": [],
        "signal:sigsegv": both, "fn:zend_execute": both, "fn:zend": [], "status:partial": [abort],
        "phpfile:srv/index": both, "bug:17654": [abort], "bug:*": [abort], "note:wiki": [abort],
        'note:"see wiki"': [abort], "sig:zend_gc": [abort], "top:zend_gc": [], "top:abort": [abort],
        "gc_run": [abort], "!gc_run": [CLUSTER], "index.php": both, "Shop\\Cart::total": [CLUSTER],
        "is:new host:web9": [],
    }  # fmt: skip
    assert {text: ids(text) for text in expected} == expected


def test_schema_1_becomes_schema_2(url: str) -> None:
    driver = url.replace("postgresql://", "postgresql+psycopg://")
    if driver.startswith("sqlite"):
        open_store(url).close()  # makes the folder
        path = url.removeprefix("sqlite:///")
        engine = create_engine(f"sqlite:///{path}.old")
        url = f"sqlite:///{path}.old"
    else:
        engine = create_engine(driver)
    one = replace(crash("aa"), cluster="C-aaaaaa")
    broken = replace(crash("bb"), cluster="C-bbbbbb")
    with engine.begin() as connection:
        schema1.make(connection, one, broken)

    before = clock.now()
    with open_store(url) as store:
        by_id = {cluster.id: cluster for cluster in store.clusters()}
        marked = by_id["C-aaaaaa"].decision
        assert marked is not None
        assert (marked.state, marked.by, marked.note) == (State.KNOWN, "an earlier triage", "ticket 7")
        assert marked.at >= before - timedelta(seconds=1)
        assert by_id["C-bbbbbb"].decision is None
        assert [cluster.id for cluster in store.clusters(parse_query("fn:zend_execute"))] == ["C-aaaaaa"]
        store.mark("C-bbbbbb", decision(State.KNOWN))
        store.save(triaged(crash("cc", key="v1:c")), None)

    try:
        shape = _shape(engine)
    finally:
        engine.dispose()
    assert shape == _shape_of_new(url)


def _shape_of_new(url: str) -> object:
    if not url.startswith("sqlite"):
        pytest.skip("compared on SQLite: a second PostgreSQL database is not worth its time")
    with open_store(f"{url}.new"):
        engine = create_engine(f"{url}.new")
        shape = _shape(engine)
        engine.dispose()
    return shape


def _shape(engine: Engine) -> object:
    look = inspect(engine)
    tables = sorted(look.get_table_names())
    return {
        table: (
            [(one["name"], one["nullable"]) for one in look.get_columns(table)],
            sorted((one["name"], tuple(one["column_names"])) for one in look.get_indexes(table)),
            look.get_pk_constraint(table)["constrained_columns"],
        )
        for table in tables
    }


def test_what_the_database_takes_from_records_is_what_reading_them_whole_gives(sqlite_url: str) -> None:
    """Records of all kinds; the odd characters are those that SQLite's text cannot hold."""
    odd = whole("odd1", host="a\x00b")
    frame = odd.threads[0].frames[1]._replace(function="lone\udc80", file="/a\x00/b.php")
    odd = replace(odd, threads=(replace(odd.threads[0], frames=(frame, *odd.threads[0].frames)),))
    with open_store(sqlite_url) as store:
        for one in (
            whole("c0ffee01"),
            whole("c0ffee02", runtime=None, findings=()),
            whole("c0ffee03", threads=()),
            odd,
        ):
            store.save(triaged(one), None)
        with store._engines.writer.begin() as connection:
            connection.exec_driver_sql("UPDATE triage_crashes SET record = '{' WHERE id = 'c0ffee02'")
            for cluster in store.clusters():
                parts = set().union(*backfill._by_parts(connection, cluster.id))
                assert parts == set().union(*backfill._whole(connection, cluster.id))
                assert len(parts) > 5


def test_a_migration_says_how_far_it_is(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "_QUIET", 0.0)
    with open_store(sqlite_url) as store:
        save(store, (0, "web1", "8.2.29"))
        with store._engines.writer.begin() as connection:
            connection.exec_driver_sql("DELETE FROM triage_facts")
            told: list[str] = []
            backfill.facts(connection, told.append)
        assert [one.id for one in store.clusters(parse_query("fn:zend_execute"))] == [CLUSTER]
    assert told == ["bringing the store up to date: 0 of 1 clusters"]


def test_filters_of_deploys_and_of_who_decided(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.store.store.user_name", lambda: "ann")
    with open_store(sqlite_url) as store:
        save(store, (0, "web1", "8.2.29"), (3, "web1", "8.2.29"))
        store.save(triaged(crash("bb01", key="v1:b", title="b", time=at(3 * HOUR), host="web2")), None)
        other = store.crash("bb01").cluster
        for change in (deploy(1, "shop v1"), deploy(2, "shop v2", host="web2"), deploy(2.5, "ini", pool="www")):
            store.add_change(change)

        def chosen(query: str) -> list[str]:
            return sorted(one.id for one in store.clusters(parse_query(query)))

        assert chosen("deploy:v1") == [CLUSTER]
        assert chosen("deploy:v2") == [other]
        assert chosen("deploy:v*") == sorted([CLUSTER, str(other)])
        assert chosen("deploy:ini") == []
        assert chosen("!deploy:v1") == [other]
        assert chosen("is:mine") == []
        store.mark(CLUSTER, decision(State.KNOWN))
        store.mark(str(other), replace(decision(State.KNOWN), by="bob"))
        assert chosen("is:mine") == [CLUSTER]

        known, rows = deploys(store.changes()), store.crash_rows()
        clusters = {one.id: one for one in store.clusters()}
        found = {
            text: {
                row.id
                for row in rows
                if crash_matches(
                    parse_query(text), row, clusters[str(row.cluster)], lambda: crash(), me="ann", deployed=known
                )
            }
            for text in ("deploy:v1", "deploy:v2", "is:mine", "!deploy:*")
        }
        ours = {row.id for row in rows if row.cluster == CLUSTER}
        late = next(row.id for row in rows if row.cluster == CLUSTER and row.time == at(3 * HOUR))
        assert found == {"deploy:v1": {late}, "deploy:v2": {"bb01"}, "is:mine": ours, "!deploy:*": ours - {late}}


@pytest.mark.parametrize(
    ("what", "packages", "fixed_in", "named"),
    [
        ("shop v4.182", {}, "v4.182", True),
        ("shop V4.182, with a new cart", {}, "v4.182", True),
        ("shop v4.1820", {}, "v4.182", False),
        ("shop v4.182.1", {}, "v4.182", False),
        ("v4.181 → v4.182", {}, "v4.181", False),
        ("php8.2 8.2.29 → 8.2.30", {"php8.2-fpm": ("8.2.29-1", "8.2.30-1")}, "8.2.29", False),
        ("php8.2 8.2.29 → 8.2.30", {"php8.2-fpm": ("8.2.29-1", "1:8.2.30-1~deb12u1")}, "8.2.30", True),
        ("php-redis removed", {"php-redis": ("6.0.2", None)}, "6.0.2", False),
        ("anything", {}, "", False),
    ],
)
def test_what_names_a_fix(
    what: str, packages: dict[str, tuple[str | None, str | None]], fixed_in: str, named: bool
) -> None:
    assert names(deploy(1, what, packages=packages), fixed_in) is named
