"""The life of the GDB process: it hangs, dies, floods, is recycled, and is never trusted with scripts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.native import c_crash
from triage.config import Limits
from triage.corefile import open_core
from triage.gdb.locate import Gdb, find_gdb
from triage.gdb.session import GdbFailed, GdbSession, Target
from triage.symbols import Finder
from triage.symbols.proven import proven_files

pytestmark = [pytest.mark.gdb, pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")]

_FAST = Limits(gdb_seconds=3)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return c_crash("handler", tmp_path_factory.mktemp("session"), "-O0", "-g")


@pytest.fixture(scope="module")
def target(core: Path) -> Target:
    return _target(core, core.with_suffix(""))


def _target(core: Path, program: Path) -> Target:
    finder = Finder()
    with open_core(core) as opened:
        opened.memory.use_files(finder.backing(opened.modules))
        return Target(core=core, executable=program, files=proven_files(opened, finder))


def _fake(folder: Path, answer: str) -> Gdb:
    """A program that greets as GDB does, and then does something else. `$token` is the command's."""
    script = folder / "gdb"
    script.write_text(
        "#!/bin/bash\necho '=thread-group-added,id=\"i1\"'; echo '(gdb)'\n"
        "while read -r line; do token=${line%%-*}\n"
        'case $line in *-gdb-version*) echo "$token^done"; echo "(gdb)"; continue;; esac\n'
        f"{answer}\ndone\n"
    )
    script.chmod(0o755)
    return Gdb(argv=(str(script),), version_text="fake", version=(99,), origin="chosen")


def test_one_gdb_serves_many_cores(target: Target) -> None:
    with GdbSession(find_gdb(), Limits()) as session:
        answers = [session.examine(target, None) for _ in range(3)]
        assert session.starts == 1
    names = [[frame["name"] for frame in answer["threads"][0]["frames"]] for answer in answers]
    assert names[0] == names[1] == names[2]
    assert "measure" in names[0]


def test_it_is_recycled_after_so_many(target: Target) -> None:
    with GdbSession(find_gdb(), replace(Limits(), gdb_recycle=2)) as session:
        for _ in range(5):
            session.examine(target, None)
        assert session.starts == 3


def test_killed_between_two_cores_it_is_started_again(target: Target) -> None:
    with GdbSession(find_gdb(), Limits()) as session:
        session.examine(target, None)
        assert session._process is not None
        os.killpg(session._process.pid, signal.SIGKILL)
        time.sleep(0.2)
        answer = session.examine(target, None)
    assert answer["threads"][0]["frames"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("exec cat >/dev/null", "gave no answer within 3 s"),
        ("kill -SEGV $$", "GDB ended with signal 11"),
        ("echo last words >&2; exit 7", "GDB ended with status 7: last words"),
        ('echo "$token^done,a=["', "cut off"),
        ('echo "$token^error,msg=\\"No symbol table\\""', "GDB refused: No symbol table"),
        ('echo "$token^done"', "gave no answer to triage-load"),
        ("exec yes x", "GDB"),
        ("while :; do printf %065536d 1; done", "GDB"),
    ],
)  # fmt: skip
def test_a_gdb_that_misbehaves_is_ended(target: Target, tmp_path: Path, answer: str, reason: str) -> None:
    begun = time.monotonic()
    session = GdbSession(_fake(tmp_path, answer), _FAST)
    with session, pytest.raises(GdbFailed, match=reason):
        session.examine(target, None)
    assert time.monotonic() - begun < 30
    assert session.starts == 2  # asked once more for less, then given up
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "gdb")], capture_output=True, check=False)
    assert left.stdout == b""


def test_a_core_that_gdb_refuses_is_refused_in_the_same_words_each_time(target: Target, tmp_path: Path) -> None:
    cut = tmp_path / "cut.core"
    cut.write_bytes(target.core.read_bytes()[:500])
    with GdbSession(find_gdb(), Limits()) as session:
        for _ in range(2):
            with pytest.raises(GdbFailed) as refused:
                session.examine(replace(target, core=cut), None)
            expected = "GDB could not read this core: it is not a core dump: file format not recognized"
            assert refused.value.message == expected


def test_its_folder_is_removed(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with GdbSession(find_gdb(), Limits()) as session:
        session.examine(target, None)
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_scripts_beside_the_program_do_not_run(core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """-nx alone does not stop PROGRAM-gdb.py; a core from a stranger may come with one."""
    program = tmp_path / "handler"
    shutil.copy(core.with_suffix(""), program)
    marker = tmp_path / "ran"
    (tmp_path / "handler-gdb.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (tmp_path / "handler-gdb.gdb").write_text(f"shell touch {marker}\n")
    for name in (".gdbinit", ".config/gdb/gdbinit", ".gdbearlyinit"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"set auto-load safe-path /\nshell touch {marker}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with GdbSession(find_gdb(), Limits()) as session:
        answer = session.examine(_target(core, program), None)
    assert "measure" in [frame["name"] for frame in answer["threads"][0]["frames"]]
    assert not marker.exists()


def test_the_wheels_gdb_sees_the_same_frames(target: Target) -> None:
    """GDB 18.1 of the PyPI wheel, for machines where nobody may install one."""
    pytest.importorskip("gdb_for_pwndbg")
    from triage.gdb import locate

    wheel = locate._wheel()
    assert wheel is not None
    try:
        gdb = locate.probe(wheel.argv, wheel.origin, wheel.env)
    except locate.Unfit as reason:
        pytest.skip(f"the wheel's GDB does not start here: {reason}")
    with GdbSession(gdb, Limits()) as with_wheel, GdbSession(find_gdb(), Limits()) as with_system:
        ours, theirs = with_wheel.examine(target, None), with_system.examine(target, None)
    shape = ("pc", "name", "line", "inline", "handler")
    frames = [[[frame[key] for key in shape] for frame in a["threads"][0]["frames"]] for a in (ours, theirs)]
    assert frames[0] == frames[1]
    assert ours["registers"] == {**ours["registers"], **{k: v for k, v in theirs["registers"].items() if k != "fs"}}
