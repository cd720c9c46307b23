"""A folder with every kind of bad input: each is named with a reason, nothing hangs, the rest is triaged."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Maker
from tests.lab.php import CASES as PHP_CASES
from tests.lab.php import Interpreter, make
from triage.demo.lab import Process, crash

pytestmark = [pytest.mark.php, pytest.mark.gdb]

_SECONDS = 120
_NOBODY = 65534
_PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture
def folder(tmp_path: Path, made: Maker) -> Path:
    """One of each."""
    folder = tmp_path / "crashes"
    folder.mkdir()
    good = made("kill-1").core
    shutil.copy(good, folder / "good.core")
    (folder / "empty").touch()
    (folder / "random").write_bytes(random.Random(11).randbytes(100_000))
    with good.open("rb") as stream:
        (folder / "truncated.core").write_bytes(stream.read(good.stat().st_size * 2 // 3))
        stream.seek(0)
        (folder / "headers-only.core").write_bytes(stream.read(3000))
    shutil.copy("/bin/true", folder / "program")
    (folder / "dangling").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "fifo")
    shutil.copy(made("kill-main").core, folder / "unreadable.core")
    (folder / "unreadable.core").chmod(0)
    shutil.move(_core_of_a_program_that_is_gone(tmp_path), folder / "missing-executable.core")
    return folder


def _core_of_a_program_that_is_gone(tmp_path: Path) -> Path:
    program, run = tmp_path / "gone-php", tmp_path / "run"
    run.mkdir()
    shutil.copy(Path(shutil.which("php") or "php").resolve(), program)
    code = "posix_kill(posix_getpid(), 11);"
    core = crash(Process(argv=(str(program), "-r", code), folder=run, env={}), tmp_path / "gone.core")
    program.unlink()
    return core


def _python_for(user: int | None) -> str | None:
    """A Python that another user may run too: ours may lie in root's own folder."""
    for program in (sys.executable, "/usr/bin/python3"):
        check = [program, "-c", "import triage.pipeline"]
        with contextlib.suppress(OSError):
            done = subprocess.run(
                check, env=_environment(Path("/")), capture_output=True, check=False, **_identity(user)
            )
            if done.returncode == 0:
                return program
    return None


def _identity(user: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": user, "extra_groups": ()}


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": ":".join(path for path in sys.path if path.endswith("site-packages")) + f":{_PROJECT}",
    }


def _batch(
    folder: Path, store: Path, *, user: int | None = None, python: str = sys.executable
) -> tuple[int, dict[str, dict[str, Any]], str]:
    command = [python, "-m", "triage", "batch", "--json", "--store", str(store), str(folder)]
    done = subprocess.run(
        command, capture_output=True, timeout=_SECONDS, check=False, text=True, stdin=subprocess.DEVNULL,
        env=_environment(store.parent), **_identity(user),
    )  # fmt: skip
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {Path(record["core"]).name: record for record in records}, done.stderr


def test_each_input_gets_its_answer(folder: Path, tmp_path: Path) -> None:
    status, found, errors = _batch(folder, tmp_path / "triage.db")
    assert status == 1
    assert sorted(found) == sorted(path.name for path in folder.iterdir())
    readable = os.geteuid() == 0
    assert {name: (record["status"], (record["error"] or {}).get("code")) for name, record in found.items()} == {
        "good.core": ("ok", None),
        "empty": ("error", "empty"),
        "random": ("error", "not-a-core"),
        "truncated.core": ("partial", None),
        "headers-only.core": ("error", "truncated"),
        "program": ("error", "not-a-core"),
        "dangling": ("error", "dangling-link"),
        "fifo": ("error", "fifo"),
        "unreadable.core": ("ok", None) if readable else ("error", "unreadable"),
        "missing-executable.core": ("partial", None),
    }
    for name, record in found.items():
        if record["error"]:
            assert record["error"]["message"]
            assert name in errors  # each one is named on stderr
            assert record["error"]["message"].split(". ")[0] in errors
    assert "Traceback" not in errors


def test_gaps_are_explained(folder: Path, tmp_path: Path) -> None:
    _, found, _ = _batch(folder, tmp_path / "triage.db")
    cut = found["truncated.core"]["crash"]
    assert any("cut off" in warning for warning in cut["warnings"])
    gone = found["missing-executable.core"]["crash"]
    assert any("is not on this machine" in warning for warning in gone["warnings"])
    assert gone["signal"]["name"] == "SIGSEGV"
    assert gone["executable"].endswith("/gone-php")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_user_without_rights(folder: Path, tmp_path: Path) -> None:
    """The same as nobody: what root may read, nobody may not."""
    python = _python_for(_NOBODY)
    if python is None:
        pytest.skip("no Python here that another user may run with this project")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink() and path.name != "unreadable.core":
            path.chmod(0o644)
    home = tmp_path / "nobody"
    home.mkdir()
    os.chown(home, _NOBODY, _NOBODY)
    status, found, errors = _batch(folder, home / "triage.db", user=_NOBODY, python=python)
    assert status == 1, errors
    record = found["unreadable.core"]
    assert (record["status"], record["error"]["code"]) == ("error", "unreadable")
    assert "nobody" in record["error"]["message"] or "permission" in record["error"]["message"].lower()
    assert found["good.core"]["status"] == "ok"


def test_a_second_run_reads_nothing_again(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "triage.db"
    _, first, _ = _batch(folder, store)
    _, second, _ = _batch(folder, store)
    ids = {name: (record["crash"] or {}).get("id") for name, record in first.items()}
    assert {name: (record["crash"] or {}).get("id") for name, record in second.items()} == ids
    timing = {name: (record["crash"] or {}).get("timing") for name, record in first.items()}
    assert {name: (record["crash"] or {}).get("timing") for name, record in second.items()} == timing


def test_killed_in_the_middle_and_run_again(tmp_path: Path) -> None:
    """kill -9 loses nothing that was reported, and the next run does the rest."""
    folder, store = tmp_path / "crashes", tmp_path / "triage.db"
    folder.mkdir()
    (tmp_path / "make").mkdir()
    case = next(case for case in PHP_CASES if case.name == "kill-main")
    for number in range(8):
        core = make(case, Interpreter((8, 2)), tmp_path / "make").core
        shutil.move(core, folder / f"{number}.core")
    command = [sys.executable, "-m", "triage", "batch", "--json", "--store", str(store), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as first:
        assert first.stdout is not None
        done = [json.loads(first.stdout.readline()) for _ in range(3)]
        first.kill()
    status, found, errors = _batch(folder, store)
    assert (status, len(found)) == (0, 8), errors
    for record in done:
        again = found[Path(record["core"]).name]
        assert again["crash"]["timing"] == record["crash"]["timing"]  # kept, not read a second time
    assert len({record["crash"]["id"] for record in found.values()}) == 8
    assert len({record["crash"]["cluster"] for record in found.values()}) == 1


def test_a_core_is_read_again_only_when_asked_for(tmp_path: Path, made: Maker) -> None:
    core = tmp_path / "good.core"
    shutil.copy(made("kill-1").core, core)
    command = [sys.executable, "-m", "triage", "batch", "--store", str(tmp_path / "triage.db"), str(core)]
    said = [
        subprocess.run([*command, *more], capture_output=True, text=True, cwd=_PROJECT, check=True).stderr
        for more in ([], [], ["--again", "--no-reuse"])
    ]
    assert said[0].startswith("1 core triaged; ")
    assert said[1].startswith("0 cores triaged, 1 known from before; ")
    assert said[2] == said[0]
