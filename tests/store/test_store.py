"""What goes in comes out, counted right: on SQLite and, where there is one, PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from threading import Thread

import pytest
from sqlalchemy import event, text, update

from triage.errors import TriageError, UsageError
from triage.model import Cluster, Crash, CrashRow, Decision, Outcome, Signature, State, Status
from triage.store import InputStamp, Store, book, open_store, writes
from triage.store.tables import crashes

from .samples import STAMP, START, at, crash, failed, triaged

HOSTILE = "a\x00b\x10c\x1b[31m\ud83d\ude00\udcff\u202e\\'\"%_\U0001f418"


def _statements(store: Store) -> list[str]:
    """A list to which every statement from now on is added."""
    heard: list[str] = []
    event.listen(store._engines.reader, "before_cursor_execute", lambda *given: heard.append(str(given[2])))
    return heard


def cluster_id(key: str) -> str:
    return f"C-{sha256(key.encode()).hexdigest()[:6]}"


def placed(found: Crash) -> Crash:
    """`found` as the store gives it back."""
    return replace(found, cluster=cluster_id(found.signature.key) if found.signature else None)


def decision(note: str | None = None) -> Decision:
    return Decision(state=State.KNOWN, at=START, by="ann", note=note)


def counts(store: Store) -> dict[str, int]:
    return {cluster.signature: cluster.count for cluster in store.clusters()}


def test_a_saved_crash_comes_back_whole_with_its_cluster(store: Store) -> None:
    saved = store.save(triaged(crash()), STAMP)

    assert saved == triaged(placed(crash()))
    assert store.crash("aa01") == placed(crash())


def test_text_of_any_characters_comes_back(store: Store) -> None:
    hostile = replace(
        crash(core=f"/tmp/{HOSTILE}", key=HOSTILE, title=HOSTILE, host=HOSTILE, version=HOSTILE),
        executable=HOSTILE,
        arguments=(HOSTILE,),
    )
    # json.dumps spells a lone high and a lone low surrogate in a row as json.loads reads one character
    joined = HOSTILE.replace("\ud83d\ude00", "\U0001f600")

    saved = store.save(triaged(hostile), STAMP)
    assert saved.crash is not None
    cluster = saved.crash.cluster

    assert store.crash_rows() == [
        CrashRow(
            id="aa01",
            core=f"/tmp/{HOSTILE}",
            status=Status.OK,
            time=hostile.time,
            host=HOSTILE,
            pid=4242,
            executable=HOSTILE,
            signal="SIGSEGV",
            runtime=f"php {HOSTILE}",
            script="/srv/index.php",
            cluster=cluster,
            title=HOSTILE,
        )
    ]
    assert store.crash("aa01").arguments == (joined,)
    assert store.seen(f"/tmp/{HOSTILE}", STAMP) is not None
    assert store.seen("/tmp/other", STAMP) is None
    store.save(failed(HOSTILE, message=HOSTILE), STAMP)
    assert store.failures() == [failed(HOSTILE, message=HOSTILE)]


def test_saving_again_doubles_nothing(store: Store) -> None:
    store.save(triaged(crash()), STAMP)
    better = replace(crash(), warnings=("the debug file was found this time",), host="web-2")

    store.save(triaged(better), STAMP)

    assert store.crash("aa01") == placed(better)
    assert [cluster.hosts for cluster in store.clusters()] == [("web-2",)]
    assert counts(store) == {"v1:zend_execute": 1}
    assert len(store.crash_rows()) == 1


def test_an_input_is_known_by_its_stamp(store: Store) -> None:
    partial = crash(status=Status.PARTIAL)
    store.save(triaged(partial), STAMP)

    assert store.seen(partial.core, STAMP) == triaged(placed(partial))
    assert store.seen(partial.core, replace(STAMP, size=1)) is None
    assert store.seen(partial.core, replace(STAMP, mtime_ns=1)) is None
    assert store.seen(partial.core, replace(STAMP, inode=1)) is None
    assert store.seen("/var/crash/another", STAMP) is None


def test_an_input_without_a_stamp_is_never_known(store: Store) -> None:
    store.save(triaged(crash()), None)

    assert store.seen(crash().core, STAMP) is None
    assert store.crash("aa01") == placed(crash())


def test_a_failure_is_kept_until_the_input_succeeds(store: Store) -> None:
    core = crash().core
    store.save(failed("/var/crash/b"), STAMP)
    saved = store.save(failed(core, "truncated", "cut off"), STAMP)

    assert saved == failed(core, "truncated", "cut off")
    assert store.failures() == [failed("/var/crash/b"), failed(core, "truncated", "cut off")]
    assert store.seen(core, STAMP) is None
    assert store.clusters() == []

    store.save(triaged(crash()), STAMP)

    assert store.failures() == [failed("/var/crash/b")]
    assert store.seen(core, STAMP) == triaged(placed(crash()))


def test_a_file_that_fails_in_the_place_of_a_triaged_one_takes_no_crash_away(store: Store) -> None:
    store.save(triaged(crash()), STAMP)
    store.save(failed(crash().core), InputStamp(size=0, mtime_ns=0, inode=0))

    assert store.failures() == [failed(crash().core)]
    assert store.crash("aa01") == placed(crash())


def test_one_crash_under_two_paths_counts_once(store: Store) -> None:
    here, there = crash(core="/a/core"), crash(core="/b/core.zst")
    store.save(triaged(here), STAMP)
    store.save(triaged(there), STAMP)

    assert counts(store) == {"v1:zend_execute": 1}
    assert store.crash("aa01") == placed(there)
    assert store.seen("/a/core", STAMP) == triaged(placed(here))
    assert store.seen("/b/core.zst", STAMP) == triaged(placed(there))


def test_a_new_signature_moves_the_crash(store: Store) -> None:
    store.save(triaged(crash("aa01")), STAMP)
    store.save(triaged(crash("aa02")), STAMP)
    moved = crash("aa02", key="v2:zend_execute", title="better")
    store.save(triaged(moved), STAMP)

    assert counts(store) == {"v1:zend_execute": 1, "v2:zend_execute": 1}
    assert store.crash("aa02").cluster == cluster_id("v2:zend_execute")


def test_a_cluster_whose_crashes_left_is_not_listed_but_keeps_its_id_and_note(store: Store) -> None:
    store.save(triaged(crash()), STAMP)
    old = store.mark(cluster_id("v1:zend_execute"), decision("bug 77"))
    store.save(triaged(crash(key="v2:zend_execute")), STAMP)

    assert counts(store) == {"v2:zend_execute": 1}
    assert store.cluster(old.id) == Cluster(
        id=old.id,
        title=old.title,
        signature="v1:zend_execute",
        count=0,
        first_seen=None,
        last_seen=None,
        state=State.KNOWN,
        note="bug 77",
        decision=decision("bug 77"),
    )

    store.save(triaged(crash()), STAMP)
    assert store.cluster(old.id) == old


def test_clusters_are_counted_and_the_latest_comes_first(store: Store) -> None:
    for found in (
        crash("aa01", time=at(5), host="web-2", version="8.2.7"),
        crash("aa02", time=at(9.000001), host="web-1", version="8.1.2"),
        crash("aa03", time=at(1), host="web-1", version="8.2.7"),
        crash("bb01", key="v1:abort", title="abort", time=at(7), host=None, version=None),
        crash("bb02", key="v1:abort", title="abort", time=None, host=None, version=None),
        crash("cc01", key="v1:free", title="free", time=None),
        crash("dd01", key=None, time=at(99)),
    ):
        store.save(triaged(found), STAMP)

    expected = [
        Cluster(
            id=cluster_id("v1:zend_execute"),
            title="zend_execute ← Shop\\Cart::total",
            signature="v1:zend_execute",
            count=3,
            first_seen=at(1),
            last_seen=at(9.000001),
            crashes=("aa02", "aa01", "aa03"),
            versions=("php 8.1.2", "php 8.2.7"),
            hosts=("web-1", "web-2"),
        ),
        Cluster(
            id=cluster_id("v1:abort"),
            title="abort",
            signature="v1:abort",
            count=2,
            first_seen=at(7),
            last_seen=at(7),
            crashes=("bb01", "bb02"),
        ),
        Cluster(
            id=cluster_id("v1:free"),
            title="free",
            signature="v1:free",
            count=1,
            first_seen=None,
            last_seen=None,
            crashes=("cc01",),
            versions=("php 8.2.7",),
            hosts=("web-1",),
        ),
    ]
    assert store.clusters() == expected
    assert [store.cluster(cluster.id) for cluster in expected] == expected


def test_listing_takes_as_many_statements_for_many_clusters_as_for_one(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        statements = _statements(store)
        taken = []
        for number in range(40):
            store.save(triaged(crash(f"aa{number:02}", key=f"v1:{number}")), STAMP)
            if number in (0, 39):
                statements.clear()
                assert len(store.clusters()) == number + 1
                taken.append(list(statements))

    assert taken[0] == taken[1]
    assert len(taken[0]) == 7  # BEGIN and six questions


def test_ids_grow_when_their_first_digits_meet(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "digest", lambda text: "abcdef" + sha256(text.encode()).hexdigest()[6:])
    keys = ["v1:one", "v1:two"]
    for number, key in enumerate(keys):
        store.save(triaged(crash(f"aa0{number}", key=key)), STAMP)

    longer = f"C-abcdef{sha256(b'v1:two').hexdigest()[6]}"
    assert store.cluster("C-abcdef").signature == "v1:one"  # whole ids come before beginnings
    assert store.cluster(longer).signature == "v1:two"
    store.save(triaged(crash("aa02", key="v1:two")), STAMP)
    assert counts(store) == {"v1:one": 1, "v1:two": 2}


def test_a_better_title_for_the_same_key_replaces_the_old(store: Store) -> None:
    store.save(triaged(crash("aa01", title="old words")), STAMP)
    store.save(triaged(crash("aa02", title="new words")), STAMP)

    assert [(cluster.title, cluster.count) for cluster in store.clusters()] == [("new words", 2)]


def test_a_mark_stays(store: Store) -> None:
    store.save(triaged(crash("aa01")), STAMP)
    known = store.clusters()[0]

    marked = store.mark(known.id[:4], replace(decision("deployed on Friday"), state=State.FIXED, at=at(50)))
    store.save(triaged(crash("aa02")), STAMP)

    fixed = replace(decision("deployed on Friday"), state=State.FIXED, at=at(50))
    assert marked == replace(known, state=State.FIXED, note="deployed on Friday", decision=fixed)
    assert store.cluster(known.id) == replace(marked, count=2, crashes=("aa01", "aa02"))


def test_rows_come_newest_first_page_by_page(store: Store) -> None:
    for found in (
        crash("aa01", time=at(1)),
        crash("aa02", time=None, key=None, version=None, host=None),
        crash("aa03", time=at(3), key="v1:abort", title="abort", version=None),
    ):
        store.save(triaged(found), STAMP)
    row = CrashRow(
        id="aa03",
        core="/var/crash/core.aa03",
        status=Status.OK,
        time=at(3),
        host="web-1",
        pid=4242,
        executable="/usr/bin/php8.2",
        signal="SIGSEGV",
        runtime=None,
        script=None,
        cluster=cluster_id("v1:abort"),
        title="abort",
    )
    last = replace(row, id="aa02", core="/var/crash/core.aa02", time=None, host=None, cluster=None, title=None)

    rows = store.crash_rows()
    assert [rows[0], rows[2]] == [row, last]
    assert [found.id for found in rows] == ["aa03", "aa01", "aa02"]
    assert [store.crash_rows(limit=1, offset=skipped)[0] for skipped in range(3)] == rows
    assert store.crash_rows(cluster=cluster_id("v1:abort")[:5]) == [row]
    assert store.crash_rows(offset=3) == []


def test_the_beginning_of_an_id_will_do(store: Store) -> None:
    for id_ in ("aa01", "aa02", "Ab", "a%"):
        store.save(triaged(crash(id_)), STAMP)

    assert [store.crash(name).id for name in ("aa01", "aa02", "A", "a%")] == ["aa01", "aa02", "Ab", "a%"]


def test_an_ambiguous_id_names_the_candidates(store: Store) -> None:
    for number in range(7):
        store.save(triaged(crash(f"aa0{number}")), STAMP)

    with pytest.raises(UsageError) as caught:
        store.crash("aa")
    assert caught.value.message == "'aa' is the beginning of more than one crash"
    assert caught.value.help == "Give more of it: aa00, aa01, aa02, aa03, aa04 …"


def test_an_unknown_id_names_the_newest(store: Store) -> None:
    with pytest.raises(UsageError) as caught:
        store.cluster("C-123")
    assert (caught.value.message, caught.value.help) == (
        "no cluster is called 'C-123'",
        "The store holds no cluster yet.",
    )
    store.save(triaged(crash("aa01", time=at(1))), STAMP)
    store.save(triaged(crash("aa02", time=at(2), key="v1:abort")), STAMP)

    for unknown in ("", "zz", "aa011", "\udcff"):
        with pytest.raises(UsageError) as caught:
            store.crash(unknown)
        assert caught.value.help == "The newest are: aa02, aa01"
    for ask in (store.cluster, store.crash_rows, lambda name: store.mark(name, decision())):
        with pytest.raises(UsageError) as caught:
            ask("nothing")
        assert caught.value.help == (f"The newest are: {cluster_id('v1:abort')}, {cluster_id('v1:zend_execute')}")


def test_the_revision_rises_with_the_commits_of_others_and_with_nothing_else(store: Store, url: str) -> None:
    before = store.revision()
    with open_store(url) as other:
        assert (other.revision(), store.revision()) == (before, before)
        other.save(triaged(crash()), STAMP)
    after = store.revision()
    store.clusters()
    with pytest.raises(UsageError):
        store.mark("nothing", decision())

    assert after > before
    assert store.revision() == after


def test_a_save_that_fails_half_way_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.revision()

    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writes, "put_inputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(triaged(crash()), STAMP)

    assert (store.clusters(), store.crash_rows(), store.revision()) == ([], [], before)


def test_a_store_may_be_read_from_another_thread(store: Store) -> None:
    store.save(triaged(crash()), STAMP)
    found: list[Crash] = []

    thread = Thread(target=lambda: found.append(store.crash("aa01")))
    thread.start()
    thread.join()

    assert found == [placed(crash())]


def test_a_record_that_cannot_be_read_is_told_by_name(store: Store) -> None:
    store.save(triaged(crash()), STAMP)
    for broken in ("{", "{}", "[]", "null"):
        with store._engines.writer.begin() as connection:
            connection.execute(update(crashes).values(record=broken))

        for ask in (lambda: store.crash("aa01"), lambda: store.seen(crash().core, STAMP)):
            with pytest.raises(TriageError, match=r"the record of crash aa01 in .* cannot be read"):
                ask()


def test_long_text_from_a_core_is_no_hindrance(store: Store) -> None:
    long = "".join(sha256(str(number).encode()).hexdigest() for number in range(200))
    found = crash(core=f"/{long}", key=long, title=long, host=long, version=long)
    store.save(triaged(found), STAMP)

    assert store.crash("aa01") == placed(found)
    assert store.crash_rows()[0].host == long[:200]
    assert store.seen(f"/{long}", STAMP) == triaged(placed(found))


def test_statuses_other_than_error_are_no_failures(store: Store) -> None:
    store.save(triaged(crash(status=Status.PARTIAL)), STAMP)
    store.save(Outcome(core="/no/reason", status=Status.ERROR), STAMP)

    assert store.failures() == [Outcome(core="/no/reason", status=Status.ERROR)]


def test_steps_of_a_signature_are_kept(store: Store) -> None:
    signature = Signature(key="v1:x", title="x", steps=("dropped: libc", "kept: x"))
    store.save(triaged(replace(crash(), signature=signature)), STAMP)

    assert store.crash("aa01").signature == signature


def test_other_programs_tables_in_postgresql_are_left_alone(postgres_url: str) -> None:
    with open_store(postgres_url) as store:
        with store._engines.writer.begin() as connection:
            connection.execute(text("CREATE TABLE invoices (id integer)"))
        store.save(triaged(crash()), STAMP)
    with open_store(postgres_url) as store:
        assert counts(store) == {"v1:zend_execute": 1}


@pytest.mark.parametrize(
    ("titles", "shown"),
    [
        (["memset ◂ a()"], "memset ◂ a()"),
        (["memset ◂ a()", "memset ◂ a()"], "memset ◂ a()"),
        (["memset ◂ a()", "memset ◂ b()"], "memset ◂ several callers"),
        (["memset ◂ a()", "memset ◂ b()", "memset ◂ a()"], "memset ◂ several callers"),
        (["memset ◂ pad() ◂ a()", "memset ◂ pad() ◂ b()"], "memset ◂ pad() ◂ several callers"),
        (["memset ◂ a()", "memset"], "memset ◂ several callers"),
        (["SIGSEGV in sub_1", "zend_gc"], "zend_gc"),
    ],
)
def test_a_clusters_title_is_true_of_all_its_crashes(sqlite_url: str, titles: list[str], shown: str) -> None:
    with open_store(sqlite_url) as store:
        for number, title in enumerate(titles):
            store.save(triaged(crash(f"aa{number:02}", title=title)), None)
        assert [cluster.title for cluster in store.clusters()] == [shown]
