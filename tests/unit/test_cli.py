"""The command as a program: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from triage.cli.main import VERBS
from triage.model import Crash, Decision, Frame, Outcome, Runtime, Signal, Signature, State, Status, Thread
from triage.store import open_store

from .guarded import ROOT
from .served import Server

START = datetime(2026, 1, 1, 8, 30, tzinfo=UTC)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("served")) as started:
        yield started


def surroundings(**more: str) -> dict[str, str]:
    """The environment, away from the user's own store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIAGE_", "PYTHON"))}
    return kept | {"XDG_DATA_HOME": "/nonexistent/data", "NO_COLOR": "1"} | more


@pytest.fixture
def triage(server: Server) -> Run:
    """Runs the command: `(exit status, stdout, stderr)`."""

    def run(*arguments: str | Path, store: Path | None = None, **more: str) -> tuple[int, str, str]:
        chosen = ["--store", str(store)] if store else []
        return server.run([*map(str, arguments), *chosen], surroundings(**more))

    return run


def alone(*arguments: str | Path, **more: str) -> tuple[int, str, str]:
    """Runs the command as a user would, from the interpreter's start to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "triage", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=surroundings(**more),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def crash(id_: str, *, key: str, title: str, minutes: int, host: str, script: str = "/srv/index.php") -> Crash:
    function = title.split()[0]  # other keys come from other places
    frame = Frame(kind="native", function="f" if function == "memcpy" else function, module="/usr/bin/php",
                  offset=1, address=2)  # fmt: skip
    return Crash(
        id=id_,
        core=f"/var/crash/core.{id_}",
        status=Status.OK,
        time=START + timedelta(minutes=minutes),
        host=host,
        pid=4242,
        executable="/usr/bin/php8.2",
        build_id="c0ffee",
        arguments=("php", "index.php"),
        signal=Signal(number=11, name="SIGSEGV", code=1, address=16),
        runtime=Runtime(name="php", version="8.2.7", script=script),
        threads=(Thread(id=7, name="php", crashed=True, depth=1, truncated=False, frames=(frame,)),),
        modules=(),
        signature=Signature(key=key, title=title),
    )


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store with three crashes in two clusters; one with a script name made to hurt a terminal."""
    path = tmp_path / "crashes.db"
    given = [
        crash("aa01", key="v1:a", title="memcpy ◂ f()", minutes=0, host="web-1"),
        crash("ab02", key="v1:a", title="memcpy ◂ f()", minutes=10, host="web-2"),
        crash("bb03", key="v1:b", title="free ◂ g()", minutes=5, host="web-1", script="/srv/\x1b[2J\tx\ny.php"),
    ]
    with open_store(f"sqlite:///{path}") as store:
        for found in given:
            store.save(Outcome(core=found.core, status=found.status, crash=found), None)
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path / "new" / "crashes.db"


CRASH_HEAD = "crash\tstatus\ttime\thost\tpid\tsignal\truntime\tcluster\tscript\tcore\ttitle\n"
CLUSTER_HEAD = "cluster\tstate\tcount\tfirst_seen\tlast_seen\tversions\thosts\ttitle\n"


def test_help_lists_every_verb_and_imports_none(triage: Run) -> None:
    status, out, errors = triage("--help")
    assert (status, errors) == (0, "")
    section = out.split("Verbs:\n")[1]
    assert [line.split()[0] for line in section.splitlines() if line.startswith("  ") and line[2] != " "] == list(
        VERBS
    )
    assert triage("-h") == (status, out, errors)
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "triage", "--help"],
        capture_output=True, text=True, timeout=60, check=True, cwd=ROOT,
    ).stderr  # fmt: skip
    assert [
        name for name in ("sqlalchemy", "textual", "lief", "rich", "pygdbmi", "capstone") if f" {name}\n" in loaded
    ] == []


def test_version(triage: Run) -> None:
    assert alone("--version") == triage("--version") == (0, "triage, version 0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "Error: No such command 'nonsense'."),
        (["list", "--nonsense"], "Error: No such option '--nonsense'"),
        (["batch"], "Error: Missing argument 'PATH…'."),
        (["show"], "Error: Missing argument 'CRASH_OR_CORE'."),
        (["tui", "too", "many"], "Error: Got unexpected extra arguments (too many)"),
        (["list", "--store"], "Error: Option '--store' requires an argument."),
        (["list", "--sysroot", "/nonexistent"], "Error: Invalid value for '--sysroot'"),
        (["list", "--store", "mysql://root:hunter2@h/x"], "triage: no store speaks 'mysql'"),
        (["tui"], "triage: the terminal interface needs a terminal"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence(triage: Run, arguments: list[str], said: str) -> None:
    status, out, errors = triage(*arguments)
    assert (status, out) == (2, "")
    assert said in errors
    assert "Traceback" not in errors
    assert "hunter2" not in errors


def test_an_empty_store(triage: Run, empty: Path) -> None:
    assert triage("list", store=empty) == (0, CRASH_HEAD, "")
    assert triage("clusters", store=empty) == (0, CLUSTER_HEAD, "")
    assert triage("list", "--json", store=empty) == (0, "[]\n", "")
    assert triage("clusters", "--json", store=empty) == (0, "[]\n", "")


def ids(store: Path) -> dict[str, str]:
    with open_store(f"sqlite:///{store}") as opened:
        return {cluster.signature: cluster.id for cluster in opened.clusters()}


def test_the_list_as_tab_separated_values(triage: Run, filled: Path) -> None:
    cluster = ids(filled)
    a, b = cluster["v1:a"], cluster["v1:b"]
    rows = [
        ("ab02", "2026-01-01T08:40:00Z", "web-2", a, "/srv/index.php", "memcpy ◂ f()"),
        ("bb03", "2026-01-01T08:35:00Z", "web-1", b, "/srv/\\x1b[2J\\x09x\\x0ay.php", "free ◂ g()"),
        ("aa01", "2026-01-01T08:30:00Z", "web-1", a, "/srv/index.php", "memcpy ◂ f()"),
    ]
    lines = [
        f"{id_}\tok\t{time}\t{host}\t4242\tSIGSEGV\tphp 8.2.7\t{cluster}\t{script}\t/var/crash/core.{id_}\t{title}\n"
        for id_, time, host, cluster, script, title in rows
    ]
    assert triage("list", store=filled) == (0, CRASH_HEAD + "".join(lines), "")
    assert triage("list", "--cluster", b, store=filled) == (0, CRASH_HEAD + lines[1], "")


def test_the_list_as_json(triage: Run, filled: Path) -> None:
    status, out, errors = triage("list", "--json", store=filled)
    rows = json.loads(out)
    assert (status, errors, [row["id"] for row in rows]) == (0, "", ["ab02", "bb03", "aa01"])
    assert rows[1] == {
        "id": "bb03",
        "status": "ok",
        "time": "2026-01-01T08:35:00Z",
        "executable": "/usr/bin/php8.2",
        "host": "web-1",
        "pid": 4242,
        "signal": "SIGSEGV",
        "runtime": "php 8.2.7",
        "cluster": ids(filled)["v1:b"],
        "script": "/srv/\x1b[2J\tx\ny.php",
        "core": "/var/crash/core.bb03",
        "title": "free ◂ g()",
    }
    assert out.isascii()
    assert out.count("\n") == 1


def test_the_clusters(triage: Run, filled: Path) -> None:
    cluster = ids(filled)
    a, b = cluster["v1:a"], cluster["v1:b"]
    with open_store(f"sqlite:///{filled}") as store:
        store.mark(b, Decision(state=State.KNOWN, at=START, by="ann", note="seen\nbefore"))
    first, last = "2026-01-01T08:30:00Z", "2026-01-01T08:40:00Z"
    lines = [
        f"{a}\tnew\t2\t{first}\t{last}\tphp 8.2.7\tweb-1,web-2\tmemcpy ◂ f()\n",
        f"{b}\tknown\t1\t2026-01-01T08:35:00Z\t2026-01-01T08:35:00Z\tphp 8.2.7\tweb-1\tfree ◂ g()\n",
    ]
    assert triage("clusters", store=filled) == (0, CLUSTER_HEAD + "".join(lines), "")
    status, out, errors = triage("clusters", "--json", store=filled)
    found = json.loads(out)
    assert (status, errors) == (0, "")
    assert found[0] == {
        "id": a,
        "title": "memcpy ◂ f()",
        "signature": "v1:a",
        "count": 2,
        "first_seen": first,
        "last_seen": last,
        "state": "new",
        "severity": "crash",
        "crashes": found[0]["crashes"],
        "versions": ["php 8.2.7"],
        "hosts": ["web-1", "web-2"],
        "note": None,
        "open": True,
        "flags": [],
        "remarks": [],
        "decision": None,
    }
    assert sorted(found[0]["crashes"]) == ["aa01", "ab02"]
    assert (found[1]["state"], found[1]["note"]) == ("known", "seen\nbefore")


def test_the_store_from_the_environment(triage: Run, filled: Path) -> None:
    assert triage("list", TRIAGE_STORE=str(filled)) == triage("list", store=filled)


def test_output_without_utf_8_is_no_error(filled: Path) -> None:
    status, out, errors = alone("list", "--store", filled, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert (status, errors) == (0, "")
    assert "free \\u25c2 g()" in out


def test_show_a_stored_crash(triage: Run, filled: Path) -> None:
    status, out, errors = triage("show", "bb", "--json", store=filled)
    assert (status, errors) == (0, "")
    assert (json.loads(out)["id"], json.loads(out)["threads"][0]["frames"][0]["address"]) == ("bb03", "0x2")
    status, out, errors = triage("show", "bb03", store=filled)
    assert (status, errors) == (0, "")
    assert "free ◂ g()" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zz99", "triage: no crash is called 'zz99'\n  The newest are: ab02, bb03, aa01\n"),
        ("a", "triage: 'a' is the beginning of more than one crash\n  Give more of it: aa01, ab02\n"),
    ],
)
def test_show_a_crash_nobody_knows(triage: Run, filled: Path, name: str, said: str) -> None:
    assert triage("show", name, store=filled) == (2, "", said)


def test_show_in_an_empty_store(triage: Run, empty: Path) -> None:
    said = "triage: no crash is called 'zz99'\n  The store holds no crash yet.\n"
    assert triage("show", "zz99", store=empty) == (2, "", said)


def test_list_a_cluster_nobody_knows(triage: Run, filled: Path) -> None:
    status, out, errors = triage("list", "--cluster", "zz", store=filled)
    assert (status, out) == (2, "")
    assert errors.startswith("triage: no cluster is called 'zz'\n  The newest are: ")


def test_a_store_that_is_something_else(triage: Run, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    status, out, errors = triage("list", store=path)
    assert (status in (2, 3), out) == (True, "")
    assert errors.startswith("triage: ")
    assert "Traceback" not in errors
    assert path.read_text().startswith("these are my notes\n")


@pytest.mark.gdb
def test_a_core_that_cannot_be_read(triage: Run, tmp_path: Path, empty: Path) -> None:
    path = tmp_path / "core.empty"
    path.touch()
    status, out, errors = triage("show", path, store=empty)
    assert (status, out) == (1, "")
    assert errors.startswith(f"triage: {path}: the file is empty")
    status, out, errors = triage("show", tmp_path / "missing", store=empty)
    assert (status, out, errors) == (1, "", f"triage: {tmp_path}/missing: no such file\n")


@pytest.mark.gdb
def test_a_batch_names_every_input_that_failed(triage: Run, tmp_path: Path, empty: Path) -> None:
    folder = tmp_path / "crash"
    folder.mkdir()
    (folder / "1 empty").touch()
    (folder / "2\x1b[2J").write_text("no core at all")
    (folder / "3 link").symlink_to("nowhere")
    os.mkfifo(folder / "4 fifo")
    status, out, errors = triage("batch", folder, store=empty)
    names = ["1 empty", "2\\x1b[2J", "3 link", "4 fifo"]
    codes = ["empty", "not-a-core", "dangling-link", "fifo"]
    rows = [f"error\t\t\t{folder}/{name}\t{code}\n" for name, code in zip(names, codes, strict=True)]
    assert (status, out) == (1, "status\tcrash\tcluster\tcore\twhat\n" + "".join(rows))
    said = errors.splitlines()
    assert [line.split(": ")[1] for line in said[:-1]] == [f"{folder}/{name}" for name in names]
    assert [line.rsplit("[", 1)[1] for line in said[:-1]] == [f"{code}]" for code in codes]
    assert said[-1] == "0 cores triaged, 4 could not be triaged; 0 clusters"
    status, out, errors = triage("batch", "--json", "-q", folder, store=empty)
    found = [json.loads(line) for line in out.splitlines()]
    assert (status, errors, [line["error"]["code"] for line in found]) == (1, "", codes)
    assert [(line["status"], line["crash"]) for line in found] == [("error", None)] * 4


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["at the end", "at once"])
def test_a_reader_that_has_gone_is_no_error(filled: Path, buffering: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "triage", "list", "--store", str(filled)],
        stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False, cwd=ROOT,
        env=surroundings(**buffering),
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_cluster_is_marked_and_the_mark_taken_back(triage: Run, filled: Path) -> None:
    b = ids(filled)["v1:b"]
    undo = f"Taken back with: triage mark {b} --undo\n"
    link = "https://bugs.php.net/1"
    assert triage("mark", b, "known", "--bug", link, "--note", "like \x1b[1m last year", store=filled) == (
        *(0, f"{b} is known, bug {link}: like \\x1b[1m last year\n", undo),
    )
    assert triage("mark", b[:5], "fixed", "--in", "8.2.30", store=filled) == (
        *(0, f"{b} is fixed in 8.2.30, bug {link}: like \\x1b[1m last year\n", undo),
    )
    assert triage("mark", b, "--note", "see wiki", store=filled)[1] == (
        f"{b} is fixed in 8.2.30, bug {link}: see wiki\n"
    )
    status, out, errors = triage("mark", b, "--undo", "-q", store=filled)
    assert (status, out, errors) == (0, f"{b} is fixed in 8.2.30, bug {link}: like \\x1b[1m last year\n", "")
    status, out, errors = triage("mark", b, "--history", store=filled)
    assert (status, errors, len(out.splitlines())) == (0, "", 3)
    assert "see wiki  (taken back 20" in out.splitlines()[0]
    status, out, _ = triage("mark", b, "--history", "--json", store=filled)
    newest, middle, oldest = json.loads(out)
    assert (newest["note"], middle["fixed_in"], oldest["bug"]) == ("see wiki", "8.2.30", link)
    assert newest["began"] == middle["at"]
    status, out, errors = triage("mark", b, "ignored", "--json", store=filled)
    shown = json.loads(out)
    assert (status, errors, shown["state"], shown["decision"]["until"], shown["open"], shown["flags"]) == (
        *(0, "", "ignored", ">2/d", False, []),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "triage: nothing to change is given"),
        (["known", "--in", "8.2"], "triage: --in and --since go with fixed, not with known"),
        (["fixed", "--until", "30d"], "triage: --until goes with ignored, not with fixed"),
        (["fixed", "--since", "soon"], "triage: --since 'soon' is no time"),
        (["ignored", "--until", "never"], "triage: 'never' is no condition to wake up at"),
        (["--undo"], "triage: nothing was decided about"),
    ],
)
def test_a_mark_that_makes_no_sense_changes_nothing(
    triage: Run, filled: Path, arguments: list[str], message: str
) -> None:
    b = ids(filled)["v1:b"]
    status, out, errors = triage("mark", b, *arguments, store=filled)
    assert (status, out) == (2, "")
    assert errors.startswith(message)
    assert triage("mark", b, "--history", store=filled) == (0, "", "nothing was decided yet\n")


def test_lists_take_a_query(triage: Run, filled: Path) -> None:
    cluster = ids(filled)

    def first_column(*arguments: str) -> list[str]:
        status, out, errors = triage(*arguments, store=filled)
        assert (status, errors) == (0, "")
        return [line.split("\t")[0] for line in out.splitlines()[1:]]

    assert first_column("clusters", "is:new", "n:>1") == [cluster["v1:a"]]
    assert first_column("clusters", "is:new n:>1") == [cluster["v1:a"]]
    assert first_column("clusters", "sort:first") == [cluster["v1:b"], cluster["v1:a"]]
    assert first_column("list", "host:web-1") == ["bb03", "aa01"]
    assert first_column("list", "fn:f", "!host:web-1") == ["ab02"]
    assert first_column("list", "fn:g") == []
    assert triage("clusters", "ho:web-1", store=filled)[0] == 2
    status, out, errors = triage("list", "--keys")
    assert (status, errors) == (0, "")
    assert "is:open        needs a look: new, regressed, or ignored no longer" in out


DIFF = """\
               A  aa01                                    B  bb03

What differs
  cluster      {a}                                   {b}
  time         2026-01-01T08:30:00Z                       2026-01-01T08:35:00Z
  script       /srv/index.php                             /srv/\\x1b[2J\\x09x\\x0ay.php

What is the same (6)
  signal, address, host, program, build, php

The stacks, innermost first (0% of the frames are the same)
  ≠            f                                          free
"""


def test_two_crashes_are_held_against_each_other(triage: Run, filled: Path) -> None:
    cluster = ids(filled)
    expected = DIFF.format(a=cluster["v1:a"], b=cluster["v1:b"])
    assert triage("diff", "aa01", "bb03", store=filled) == (0, expected, "")
    assert triage("diff", "aa01", cluster["v1:b"], store=filled) == (0, expected, "")  # its newest stands for it

    status, out, errors = triage("diff", "aa01", "ab02", "--equal", store=filled)
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    assert lines[lines.index("What is the same (7)") + 1 :][:7] == [
        f"  cluster      {cluster['v1:a']}",
        "  signal       SIGSEGV",
        "  address      0x10",
        "  program      /usr/bin/php8.2",
        "  build        c0ffee",
        "  php          8.2.7",
        "  script       /srv/index.php",
    ]
    assert lines[-3:] == ["  =            f", "", "  The stacks are the same, frame by frame."]
    status, out, errors = triage("diff", "aa01", "ab02", store=filled)
    assert "               ┄┄ 1 equal frame ┄┄" in out.splitlines()


def test_a_comparison_as_json(triage: Run, filled: Path) -> None:
    status, out, errors = triage("diff", "aa01", "bb03", "--json", store=filled)
    assert (status, errors) == (0, "")
    found = json.loads(out)
    assert {name: found[name] for name in ("a", "b", "frames", "reading", "alike")} == {
        "a": "aa01", "b": "bb03", "frames": [{"label": "", "a": "f", "b": "free"}], "reading": None, "alike": 0.0,
    }  # fmt: skip
    assert {"label": "time", "a": "2026-01-01T08:30:00Z", "b": "2026-01-01T08:35:00Z"} in found["facts"]


@pytest.mark.parametrize(
    ("other", "status", "said"),
    [
        ("zz", 2, "triage: no crash is called 'zz'\n  The newest are: ab02, bb03, aa01\n"),
        ("C-none", 2, "triage: no cluster is called 'C-none'\n"),
        ("/nowhere/core", 1, "triage: /nowhere/core: no such file\n"),
    ],
)
def test_a_comparison_with_what_is_not_there(triage: Run, filled: Path, other: str, status: int, said: str) -> None:
    ended, out, errors = triage("diff", "aa01", other, store=filled)
    assert (ended, out) == (status, "")
    assert errors.startswith(said)
