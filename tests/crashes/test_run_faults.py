"""A run that is interrupted or whose ground gives way: what the user gets. docs/SECURITY.md has the table."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.makecore import good
from triage.corefile.sources.unpack import Bounds, write_sparse
from triage.errors import InputError

pytestmark = [pytest.mark.gdb]
_MANY = 300  # so many that the run cannot be over before the signal comes


def environment(place: Path) -> dict[str, str]:
    """Folders of the run's own."""
    (place / "tmp").mkdir(exist_ok=True)
    own = {"XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache", "TMPDIR": "tmp"}
    return {**os.environ, **{name: str(place / folder) for name, folder in own.items()}}


def cores(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:03}.core"
        path.write_bytes(good(arguments=(b"php", b"/srv/%d.php" % number)).build())
        os.utime(path, (1_700_000_000, 1_700_000_000))


def command(place: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "triage", "batch", "--json", str(place / "cores"), *more]


def left_over(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "tmp").iterdir())


def is_running(marker: str) -> bool:
    """Whether a process has these words in its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes():
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_an_interrupted_run_keeps_what_it_reported_and_leaves_no_gdb(name: str, tmp_path: Path) -> None:
    cores(tmp_path / "cores", _MANY)
    with subprocess.Popen(
        # Whoever starts the tests in the background has them ignore SIGINT, and so would the run.
        ["env", "--default-signal=INT", *command(tmp_path, "--jobs", "1")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path),
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert run.stderr is not None
        first = [json.loads(run.stdout.readline()) for _ in range(2)]
        run.send_signal(signal.Signals[name])
        _, said = run.communicate(timeout=120)
    number = signal.Signals[name].value
    assert run.returncode == (-number if name == "SIGKILL" else 128 + number)
    assert "Traceback" not in said
    if name != "SIGKILL":
        assert left_over(tmp_path) == []
    end = time.monotonic() + 20
    while is_running(str(tmp_path / "tmp")) and time.monotonic() < end:
        time.sleep(0.2)
    assert not is_running(str(tmp_path / "tmp"))  # GDB was given paths below it
    done = subprocess.run(
        command(tmp_path, "--jobs", "1"), capture_output=True, text=True, env=environment(tmp_path), check=False
    )
    records = {Path(record["core"]).name: record for record in map(json.loads, done.stdout.splitlines())}
    assert (len(records), done.returncode) == (_MANY, 0), done.stderr
    for record in first:
        assert records[Path(record["core"]).name]["crash"]["timing"] == record["crash"]["timing"]


def test_a_core_that_vanishes_is_named_and_the_others_are_triaged(tmp_path: Path) -> None:
    cores(tmp_path / "cores", 3)
    (tmp_path / "cores" / "001.core").unlink()
    (tmp_path / "cores" / "001.core").symlink_to(tmp_path / "gone")
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, env=environment(tmp_path), check=False)
    found = [
        (record["status"], (record["error"] or {}).get("code"))
        for record in map(json.loads, done.stdout.splitlines())
    ]
    assert found == [("partial", None), ("error", "dangling-link"), ("partial", None)]
    assert done.returncode == 1
    assert "001.core" in done.stderr


def test_a_full_disk_while_unpacking_names_the_room_that_is_missing(tmp_path: Path) -> None:
    target = tmp_path / "core"
    target.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        write_sparse([good().build()], target, Bounds(reserve=1000, free=lambda descriptor: 10))
    assert (caught.value.code, caught.value.message) == (
        "no-space",
        "no room to unpack it: 10 B are free, and 1.0 kB must stay free (0 B were unpacked)",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_while_writing_ends_the_run_and_keeps_what_was_written(tmp_path: Path) -> None:
    cores(tmp_path / "cores", 60)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", small], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        store = str(small / "triage.db")
        done = subprocess.run(
            command(tmp_path, "--store", store),
            capture_output=True,
            text=True,
            env=environment(tmp_path),
            check=False,
        )
        reported = len(done.stdout.splitlines())
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        assert "full" in done.stderr
        larger = tmp_path / "larger.db"
        for path in small.glob("triage.db*"):
            shutil.copy2(path, larger.with_name(path.name.replace("triage", "larger")))
        again = subprocess.run(
            [sys.executable, "-m", "triage", "list", "--json", "--store", str(larger)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert len(json.loads(again.stdout)) == reported < 60
    finally:
        subprocess.run(["umount", small], check=True)
