"""One crash through every way a core arrives: always the same record, with what its keeper knows."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner

from tests.crashes.conftest import Maker
from tests.lab.keepers import TOOLS, abrt_problem, apport_report, compressed
from tests.lab.suites import CannotMake
from tests.lab.systemd import store_core
from triage.cli.main import triage
from triage.config import Settings
from triage.corefile.sources import Scratch, Trust, find, opened
from triage.corefile.sources.unpack import Bounds
from triage.errors import InputError
from triage.model import Crash, Origin, Outcome
from triage.pipeline import Pipeline

pytestmark = [pytest.mark.php, pytest.mark.gdb]

_STRANGER = 65534
_needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make files of other users")


@pytest.fixture(scope="module")
def core(made: Maker) -> Path:
    return made("kill-main").core


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        with Pipeline(Settings()) as pipeline:
            yield pipeline


@pytest.fixture(scope="module")
def plain(core: Path, pipeline: Pipeline) -> Crash:
    return _crash(pipeline.triage(core))


def _crash(outcome: Outcome) -> Crash:
    assert outcome.crash is not None, outcome.failure
    return outcome.crash


def _what_the_core_says(crash: Crash) -> Crash:
    """The record without what depends on the way it came."""
    return replace(crash, core="", time=None, host=None, origin=None, timing={})


def _code(outcome: Outcome) -> str | None:
    return outcome.failure.code if outcome.failure else None


@pytest.mark.parametrize("kind", TOOLS)
def test_compressed_by_the_tool_itself(
    kind: str, core: Path, plain: Crash, pipeline: Pipeline, tmp_path: Path
) -> None:
    path = compressed(core, kind, tmp_path)
    crash = _crash(pipeline.triage(path))
    assert _what_the_core_says(crash) == _what_the_core_says(plain)
    assert crash.core == str(path)
    assert crash.origin is not None
    assert (crash.origin.kind, crash.origin.compression, crash.origin.time_from) == ("file", kind, "mtime")


def test_systemd_coredump_itself(core: Path, plain: Crash, pipeline: Pipeline, tmp_path: Path) -> None:
    try:
        path = store_core(core, tmp_path, user=33, time=1_790_000_000)
    except CannotMake as reason:
        pytest.skip(str(reason))
    crash = _crash(pipeline.triage(path))
    assert _what_the_core_says(crash) == _what_the_core_says(plain)
    died = datetime.fromtimestamp(1_790_000_000, UTC)
    assert crash.origin == Origin(
        kind="systemd-coredump",
        compression="zstd",
        time=died,
        time_from="attribute",
        host="web1",
        pid=int(path.name.split(".")[-3]),
        user=33,
        executable=os.path.realpath("/usr/bin/sleep"),
    )
    assert (crash.time, crash.host) == (died, "web1")


def test_systemd_coredump_s_file_copied_without_attributes(core: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / f"core.php\\x2dfpm.v8.2.33.{'ab' * 16}.4242.1790000000123456"
    path.write_bytes(core.read_bytes())
    crash = _crash(pipeline.triage(path))
    died = datetime.fromtimestamp(1_790_000_000, UTC) + timedelta(microseconds=123_456)
    assert crash.origin == Origin(kind="systemd-coredump", time=died, time_from="name", pid=4242, user=33)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "zlib"])
def test_a_report_of_apport(kind: str, core: Path, plain: Crash, pipeline: Pipeline, tmp_path: Path) -> None:
    facts = {
        "Date": "Tue Nov 24 18:43:00 2026",
        "ExecutablePath": "/usr/sbin/php-fpm8.2",
        "ProcCmdline": "'php-fpm: pool www'",
        "ProcStatus": "Name:\tphp-fpm8.2\nPid:\t4242\nUid:\t33\t33\t33\t33",
        "Package": "php8.2-fpm 8.2.29",
        "CrashCounter": "7",
        "Signal": "11",
        "../../evil": "not a path",
    }
    path = apport_report(core, tmp_path / "_usr_sbin_php-fpm8.2.33.crash", facts, kind=kind)
    crash = _crash(pipeline.triage(path))
    assert _what_the_core_says(crash) == _what_the_core_says(plain)
    assert crash.origin == Origin(
        kind="apport",
        compression=kind,
        time=datetime(2026, 11, 24, 18, 43).astimezone(UTC),
        time_from="report",
        pid=4242,
        user=33,
        executable="/usr/sbin/php-fpm8.2",
        package="php8.2-fpm 8.2.29",
        occurrences=7,
    )


def test_a_report_of_apport_without_a_core(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "x.crash"
    path.write_text("ProblemType: Crash\nDate: Tue Nov 24 18:43:00 2026\n")
    assert _code(pipeline.triage(path)) == "no-core"
    path.write_text("ProblemType: Package\nSourcePackage: php\n")
    outcome = pipeline.triage(path)
    assert outcome.failure is not None
    assert outcome.failure.message == "apport's report of 'Package', not of a crash"


def test_a_problem_folder_of_abrt(core: Path, plain: Crash, pipeline: Pipeline, tmp_path: Path) -> None:
    elements = {
        "analyzer": "CCpp", "type": "CCpp", "time": "1790000000", "uid": "33", "pid": "4242", "count": "3",
        "executable": "/usr/sbin/php-fpm", "cmdline": "php-fpm: pool www", "hostname": "web2",
        "package": "php-fpm-8.2.29-1.el9", "container_id": "f" * 64, "os_release": "a distribution",
    }  # fmt: skip
    path = abrt_problem(core, tmp_path / "ccpp-2026-11-24-18:43:00-4242", elements)
    assert list(find([tmp_path])) == [path]
    crash = _crash(pipeline.triage(path))
    assert _what_the_core_says(crash) == _what_the_core_says(plain)
    assert crash.origin == Origin(
        kind="abrt",
        time=datetime.fromtimestamp(1_790_000_000, UTC),
        time_from="report",
        host="web2",
        pid=4242,
        user=33,
        executable="/usr/sbin/php-fpm",
        container="f" * 12,
        package="php-fpm-8.2.29-1.el9",
        occurrences=3,
    )
    path.unlink()
    assert list(find([tmp_path])) == [path]
    assert _code(pipeline.triage(path)) == "no-core"


def test_patterns_and_parts_of_other_inputs(tmp_path: Path) -> None:
    for name in ("core.1", "core.2.zst", "notes.txt", ".#core.x123", "_usr_php.0.crash", "_usr_php.0.upload"):
        (tmp_path / name).touch()
    assert [path.name for path in find([tmp_path / "core.*"])] == ["core.1", "core.2.zst"]
    names = [path.name for path in find([tmp_path, tmp_path / "core.1"])]
    assert names == ["_usr_php.0.crash", "core.1", "core.2.zst", "notes.txt"]
    assert [path.name for path in find([tmp_path / "nothing.*"])] == []
    assert [path.name for path in find([tmp_path / "nothing"])] == ["nothing"]


def test_cut_off_while_compressed(core: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    path = compressed(core, "gzip", tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    crash = _crash(pipeline.triage(path))
    assert crash.warnings[0] == "the gzip stream it came in ends early: it is cut off"
    assert crash.warnings[1].startswith("the core is cut off: ")


def test_a_bomb_unpacks_to_nothing(core: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    """Zeros without a core's header are given up at once; with one, they go no further than it says."""
    bomb = tmp_path / "bomb.zst"
    with bomb.open("wb") as out, zstandard.ZstdCompressor(level=1).stream_writer(out) as packer:
        for _ in range(1024):
            packer.write(bytes(1 << 20))
    begun = time.process_time()
    assert _code(pipeline.triage(bomb)) == "not-a-core"
    assert time.process_time() - begun < 1.0
    with bomb.open("wb") as out, zstandard.ZstdCompressor(level=1).stream_writer(out) as packer:
        packer.write(core.read_bytes())
        for _ in range(1024):
            packer.write(bytes(1 << 20))
    with Scratch(tmp_path / "scratch") as scratch, opened(bomb, scratch, Trust(everywhere=True)) as found:
        assert found.file.stat().st_size == core.stat().st_size
        assert found.file.stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "scratch").iterdir()) == []


def test_limits_of_size_and_of_the_disk(core: Path, tmp_path: Path) -> None:
    path = compressed(core, "zstd", tmp_path)
    codes = []
    for bounds in (Bounds(largest=1 << 20), Bounds(reserve=1 << 30, free=lambda _: 1 << 29)):
        with Scratch(tmp_path / "scratch") as scratch, pytest.raises(InputError) as refused:  # noqa: SIM117
            with opened(path, scratch, Trust(everywhere=True), bounds):
                pass
        codes.append(refused.value.code)
    assert codes == ["too-large", "no-space"]
    result = CliRunner().invoke(triage, ["batch", "--store", str(tmp_path / "db"), "--max-core", "1M", str(path)])
    assert result.exit_code == 1
    assert "the limit is 1.0 MB" in result.stderr


def test_what_a_killed_run_unpacked_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "unpacked-old"
    left.mkdir()
    (left / "core-x").touch()
    with Scratch(tmp_path) as first, Scratch(tmp_path) as second:
        mine = first.file()
        assert not left.exists()
        second.file()
        assert mine.exists()  # held by its run's lock


def test_a_core_that_is_still_being_written(core: Path, plain: Crash, tmp_path: Path) -> None:
    """Open for writing, appended to by somebody who opens it anew each time, or compressed meanwhile: left alone."""
    folder, store = tmp_path / "cores", tmp_path / "triage.db"
    folder.mkdir()
    whole = core.read_bytes()
    path, packed = folder / "core.1", folder / "core.2.gz"
    arguments = ["batch", "--json", "--store", str(store), str(folder)]
    with path.open("wb") as writer, packed.open("wb") as packing:
        writer.write(whole[: len(whole) // 2])
        packing.write(compressed(core, "gzip", tmp_path).read_bytes()[:100_000])
        writer.flush()
        packing.flush()
        result = CliRunner().invoke(triage, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        errors = [json.loads(line)["error"] for line in result.stdout.splitlines()]
        assert [error["code"] for error in errors] == ["being-written", "being-written"]
        writer.write(whole[len(whole) // 2 :])
    packed.unlink()
    result = CliRunner().invoke(triage, arguments, catch_exceptions=False)
    assert [json.loads(line)["crash"]["id"] for line in result.stdout.splitlines()] == [plain.id]


def test_a_copy_that_arrives_piece_by_piece(core: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    path, over = tmp_path / "core.1", threading.Event()
    path.write_bytes(core.read_bytes()[:1_000_000])

    def arrive() -> None:
        while not over.wait(0.05):
            with path.open("ab") as out:
                out.write(b"\1" * 100)

    copying = threading.Thread(target=arrive)
    copying.start()
    try:
        assert _code(pipeline.triage(path)) == "being-written"
    finally:
        over.set()
        copying.join()
    assert _crash(pipeline.triage(path)).warnings[0].startswith("the core is cut off")


def test_the_clock_was_set_back_since_a_core_was_written(core: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    """It is from the future then, and yet nobody is writing it: whole or cut off, it is triaged."""
    whole, cut = tmp_path / "core.1", tmp_path / "core.2"
    whole.write_bytes(core.read_bytes())
    cut.write_bytes(core.read_bytes()[:1_000_000])
    later = int(time.time()) + 86_400
    for path in (whole, cut):
        os.utime(path, (later, later))
    crash = _crash(pipeline.triage(whole))
    assert crash.time is not None
    assert (crash.time.timestamp(), crash.origin and crash.origin.time_from) == (later, "mtime")
    assert _crash(pipeline.triage(cut)).warnings[0].startswith("the core is cut off")


@_needs_root
def test_folders_everybody_can_write_to(core: Path, tmp_path: Path) -> None:
    """Links and strangers' files are named and not read there; services' and root's own are."""
    folder = tmp_path / "everybody"
    folder.mkdir()
    folder.chmod(0o1777)
    for name, owner in (("core.root", 0), ("core.service", 33), ("core.stranger", _STRANGER)):
        subprocess.run(["cp", "--sparse=always", str(core), str(folder / name)], check=True)
        os.chown(folder / name, owner, owner)
    (folder / "core.link").symlink_to(core)
    arguments = ["batch", "--json", "--store", str(tmp_path / "triage.db"), str(folder)]
    assert _codes(arguments) == {
        "core.link": "foreign-link",
        "core.root": None,
        "core.service": None,
        "core.stranger": "foreign-owner",
    }
    assert _codes([*arguments, "--owner", "nobody"])["core.stranger"] is None
    assert _codes([*arguments, "--owner", str(_STRANGER)])["core.link"] == "foreign-link"
    folder.chmod(0o755)
    assert _codes(arguments)["core.link"] is None


def _codes(arguments: list[str]) -> dict[str, str | None]:
    result = CliRunner().invoke(triage, arguments, catch_exceptions=False)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    return {Path(record["core"]).name: (record["error"] or {}).get("code") for record in records}
