"""The taker of cores: fast, with few rights, and a crash loop pushes nothing out."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.makecore import good
from triage.cli.main import triage
from triage.collect import keep
from triage.collect.keep import Bounds

_NOW = 1_790_000_000


@contextmanager
def _dying(*argv: str) -> Iterator[int]:
    with subprocess.Popen(argv or ("sleep", "60")) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def _collect(folder: Path, pid: int, core: bytes, *more: str, at: int = _NOW) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "triage", "collect", str(pid), "33", "11", str(at), "web1", "!usr!bin!sleep"]
    return subprocess.run([*command, "--folder", str(folder), *more], input=core, capture_output=True, check=False)


def _facts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.triage.json"))]


def test_a_core_and_what_is_known_of_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "cores"
    core = good().build()
    with _dying("sleep", "60", ) as pid:  # fmt: skip
        done = _collect(folder, pid, core)
    assert (done.returncode, done.stderr) == (0, b"")
    (facts,) = _facts(folder)
    assert facts["core"] == f"sleep-{pid}-{_NOW}.core.zst"
    assert facts["executable"] == os.path.realpath("/usr/bin/sleep")
    assert facts["arguments"] == ["sleep", "60"]
    assert (facts["size"], facts["cut"], facts["left_out"], facts["host"]) == (len(core), None, None, "web1")
    assert any("/sleep" in line or "/coreutils" in line for line in facts["code"])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    assert (modes, stat.S_IMODE(folder.stat().st_mode)) == ({0o600}, 0o700)
    result = CliRunner().invoke(triage, ["batch", "--json", "--store", str(tmp_path / "db"), str(folder)])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Path(record["core"]).name for record in records] == [facts["core"]]
    origin = records[0]["crash"]["origin"]
    assert (origin["kind"], origin["pid"], origin["host"], origin["time"]) == (
        "collect", pid, "web1", "2026-09-21T14:13:20Z",
    )  # fmt: skip


def test_secrets_of_the_command_line_are_not_kept(tmp_path: Path) -> None:
    with _dying(sys.executable, "-c", "import time; time.sleep(60)", "--password=hunter2-91") as pid:
        _collect(tmp_path, pid, good().build())
    assert "hunter2" not in json.dumps(_facts(tmp_path))


def test_a_process_that_is_gone_still_counts(tmp_path: Path) -> None:
    with _dying() as pid:
        pass
    assert _collect(tmp_path, pid, good().build()).returncode == 0
    (facts,) = _facts(tmp_path)
    assert facts["process"] == f"process {pid} is gone"
    assert (facts["executable"], facts["core"]) == ("/usr/bin/sleep", f"sleep-{pid}-{_NOW}.core.zst")


def test_a_crash_loop_keeps_its_first_cores_and_then_some(tmp_path: Path) -> None:
    (tmp_path / keep.STATE).mkdir()
    bounds = Bounds(first=5, nth=10, window=3600)
    kept = [at for at in range(1, 41) if keep.wanted(tmp_path, "/usr/sbin/php-fpm", _NOW + at, bounds)[0]]
    assert kept == [1, 2, 3, 4, 5, 15, 25, 35]
    assert keep.wanted(tmp_path, "/usr/bin/other", _NOW, bounds) == (True, 1)
    assert keep.wanted(tmp_path, "/usr/sbin/php-fpm", _NOW + 4000, bounds) == (True, 1)
    with _dying() as pid:
        for at in range(7):
            assert _collect(tmp_path / "real", pid, good().build(), at=_NOW + at).returncode == 0
    facts = _facts(tmp_path / "real")
    assert [fact["core"] is not None for fact in facts] == [True] * 5 + [False] * 2
    assert facts[6]["left_out"].startswith("this program crashed 7 times within 3600 s")


def test_room_is_made_among_the_many_never_the_only_one(tmp_path: Path) -> None:
    for at, name in enumerate(["rare-1-1", *(f"loop-{n}-{n}" for n in range(6))]):
        path = tmp_path / f"{name}.core.zst"
        path.write_bytes(os.urandom(1 << 20))
        os.utime(path, (_NOW + at, _NOW + at))
    gone = keep.make_room(tmp_path, Bounds(total=4 << 20))
    assert gone == [f"loop-{n}-{n}.core.zst" for n in range(3)]
    assert keep.make_room(tmp_path, Bounds(total=0)) == ["loop-3-3.core.zst", "loop-4-4.core.zst"]
    assert sorted(path.name for path in tmp_path.glob("*.core.zst")) == ["loop-5-5.core.zst", "rare-1-1.core.zst"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give rights up")
def test_it_becomes_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cores"
    folder.mkdir(mode=0o700)
    os.chown(folder, 33, 33)
    for path in (tmp_path, *tmp_path.parents):  # it must get there when it is not root any more
        if path.stat().st_mode & 0o011 != 0o011:
            path.chmod(path.stat().st_mode | 0o011)
    with _dying() as pid:
        assert _collect(folder, pid, good().build()).stderr == b""
    assert {path.stat().st_uid for path in folder.iterdir()} == {33}
    script = (
        "import pathlib, sys; from triage.collect.rights import give_up; give_up(pathlib.Path(sys.argv[1]));"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'NoNewPrivs'))])"
    )
    (tmp_path / "root").mkdir()
    for place in (folder, tmp_path / "root"):
        said = subprocess.run([sys.executable, "-c", script, str(place)], capture_output=True, text=True, check=True)
        assert said.stdout.strip() == "['0000000000000000', '1']"


def test_the_kernel_gives_it_neither_output_nor_errors(tmp_path: Path) -> None:
    """core(5): descriptors 1 and 2 are closed."""
    with _dying() as pid:
        command = f"{sys.executable} -m triage collect {pid} 0 11 {_NOW} h x --folder {tmp_path} >&- 2>&-"
        done = subprocess.run(["sh", "-c", command], input=good().build(), check=False)
    assert done.returncode == 0
    assert _facts(tmp_path)[0]["core"] is not None


def test_it_loads_little_and_is_quick(tmp_path: Path) -> None:
    """The dying process waits for it: no debugger, no database, no terminal library."""
    script = (
        "import sys, io; sys.argv = ['triage', 'collect', '--help']\n"
        "from triage.cli.main import triage\n"
        "try: triage.main(['collect', '--help'], standalone_mode=False)\nexcept SystemExit: pass\n"
        "heavy = ('lief', 'sqlalchemy', 'rich', 'textual', 'capstone', 'elftools')\n"
        "print(sorted(name for name in heavy if name in sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with _dying() as pid:
        begun = time.monotonic()
        _collect(tmp_path, pid, good().build())
        assert time.monotonic() - begun < 10
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.6, f"{spent:.2f} s of processor time"
