"""`triage demo`, and how its crashes are made."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from triage.demo import lab
from triage.demo.crashes import SCENES, find_php, lacks
from triage.demo.lab import NoCrash, Process, crash
from triage.gdb.locate import find_gdb

pytestmark = pytest.mark.gdb

_SECONDS = 120
_CODE = "import ctypes; ctypes.string_at(0)"


def _demo(tmp_path: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "PATH": path or os.environ["PATH"]}
    environment.pop("TRIAGE_STORE", None)
    command = [sys.executable, "-m", "triage", "demo", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=tmp_path
    )


@pytest.mark.php
def test_every_scene_becomes_a_crash_with_its_php_stack(tmp_path: Path) -> None:
    php = find_php()
    assert php is not None
    wanted = [scene for scene in SCENES if lacks(scene, php) is None]
    done = _demo(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    by_name = {Path(each["core"]).stem: each for each in found["cores"]}
    assert sorted(by_name) == sorted([*(scene.name for scene in wanted), "python"])
    for scene in wanted:
        frames = next(thread for thread in by_name[scene.name]["crash"]["threads"] if thread["crashed"])["frames"]
        files = {frame["file"] for frame in frames if frame["kind"] == "php" and frame["file"]}
        assert files == {f"{tmp_path}/triage/demo/php/{scene.script}"}
        assert by_name[scene.name]["crash"]["findings"]
    assert {cluster["count"] for cluster in found["clusters"]} == {1, 2}
    assert found["store"] == f"{tmp_path}/triage/demo/triage.db"
    for path in (tmp_path / "triage" / "demo").rglob("*"):
        if path.suffix in (".db", ".core"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [tmp_path / "triage"]  # nothing is left in the user's folder


@pytest.mark.php
def test_a_second_demo_replaces_the_first(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        done = _demo(tmp_path, "--json")
        assert done.returncode == 0, done.stderr
        ids.append({each["crash"]["id"] for each in json.loads(done.stdout)["cores"]})
        assert sum(cluster["count"] for cluster in json.loads(done.stdout)["clusters"]) == len(ids[0])
    assert not ids[0] & ids[1]


def test_without_php_there_is_still_something_to_see(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "gdb").symlink_to(find_gdb().argv[0])
    done = _demo(tmp_path, path=str(tools))
    assert done.returncode == 0, done.stderr
    assert "no PHP here" in done.stderr
    assert "Native code read from NULL, an empty reference" in done.stdout


def _process(folder: Path, code: str) -> Process:
    folder.mkdir()
    return Process(argv=(sys.executable, "-c", code), folder=folder, env={})


@pytest.mark.parametrize("stack", [None, 512 * 1024])
def test_where_the_kernel_keeps_cores_away_gdb_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack: int | None
) -> None:
    """With systemd-coredump or apport no core appears beside the process."""
    monkeypatch.setattr(lab, "find_core", lambda folder, pid, since: None)
    process = replace(_process(tmp_path / "run", _CODE), stack=stack)
    core = crash(process, tmp_path / "made.core", find_gdb())
    assert core == tmp_path / "made.core"
    shown = subprocess.run(
        [sys.executable, "-m", "triage", "show", "--json", str(core)], capture_output=True, check=True, text=True
    )
    frames = json.loads(shown.stdout)["threads"][0]["frames"]
    assert any("ctypes" in (frame["module"] or "") for frame in frames)


def test_no_core_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "find_core", lambda folder, pid, since: None)
    with pytest.raises(NoCrash, match=r"it died of signal 11, but no core was found \(core_pattern is "):
        crash(_process(tmp_path / "run", _CODE), tmp_path / "made.core")


def test_a_process_that_ends_by_itself(tmp_path: Path) -> None:
    with pytest.raises(NoCrash, match="it ended by itself with status 3: some words"):
        crash(_process(tmp_path / "run", "print('some words'); exit(3)"), tmp_path / "made.core")
