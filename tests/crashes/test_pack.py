"""A core on another machine: by a sysroot, by a pack, and with debug files in every place they may lie."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard
from click.testing import CliRunner

from tests.crashes.conftest import Maker, of_suite
from tests.lab.native import c_crash
from tests.lab.php import CASES, make
from tests.lab.suites import SUITES
from triage.cli.main import triage

pytestmark = [pytest.mark.gdb]
SECRET = "hunter2-f3a1"


def _show(core: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(triage, ["show", str(core), "--json", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    crash: dict[str, Any] = json.loads(result.stdout)
    return crash


def _alike(crash: dict[str, Any]) -> dict[str, Any]:
    """The record without where it lay and how long it took."""
    return {key: value for key, value in crash.items() if key not in ("core", "time", "timing", "origin", "host")}


def _pack(core: Path, target: Path, *options: str) -> None:
    result = CliRunner().invoke(triage, ["pack", str(core), "-o", str(target), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr


@pytest.mark.php
@pytest.mark.suites
def test_a_core_of_another_release_by_sysroot_and_by_pack(tmp_path: Path) -> None:
    """Made in trixie, read here: both ways say the same, and without them only what the core itself has."""
    php = of_suite(next(suite for suite in SUITES if suite.name == "trixie"))
    made = make(next(case for case in CASES if case.name == "callbacks"), php, tmp_path)
    by_sysroot = _show(made.core, "--sysroot", str(made.sysroot))
    _pack(made.core, tmp_path / "x.pack", "--sysroot", str(made.sysroot))
    made.core.unlink()
    by_pack = _show(tmp_path / "x.pack")
    assert _alike(by_pack) == _alike(by_sysroot)
    frames = [frame["function"] for frame in by_pack["threads"][0]["frames"] if frame["kind"] == "php"]
    assert frames[: len(made.frames)] == [frame.function or "{main}" for frame in made.frames][: len(frames)]
    assert {module["symbols"] for module in by_pack["modules"]} <= {"full", "dynamic", "none"}
    assert by_pack["origin"]["kind"] == "pack"
    assert by_pack["time"] == by_sysroot["time"]


@pytest.mark.php
def test_a_pack_without_the_requests_memory_holds_none_of_it(made: Maker, tmp_path: Path) -> None:
    core = made("kill-1").core
    whole = _show(core)
    _pack(core, tmp_path / "x.pack", "--without-memory")
    inside = _members(tmp_path / "x.pack")
    stripped = inside["core"]
    original = core.read_bytes()
    for word in (b"HOME=", b"PATH=", b"kill_deep.php"):
        assert word in original
        assert word not in stripped
    shown = _show(tmp_path / "x.pack")
    assert shown["threads"] == whole["threads"]
    assert shown["warnings"][0].startswith("this pack has no memory of the request")
    (tmp_path / "bare.core").write_bytes(stripped)
    native = _show(tmp_path / "bare.core")["threads"][0]["frames"]
    addresses = [frame["address"] for frame in whole["threads"][0]["frames"] if frame["kind"] == "native"]
    assert [frame["address"] for frame in native if frame["kind"] == "native"] == addresses


def _members(pack: Path) -> dict[str, bytes]:
    with (
        pack.open("rb") as stream,
        zstandard.ZstdDecompressor().stream_reader(stream) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        found = {}
        for member in archive:
            content = archive.extractfile(member)
            found[member.name] = content.read() if content else b""
    return found


def _hostile(target: Path, members: dict[str, bytes], links: dict[str, str]) -> None:
    with (
        target.open("wb") as out,
        zstandard.ZstdCompressor().stream_writer(out) as packer,
        tarfile.open(fileobj=packer, mode="w|") as archive,
    ):
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, BytesIO(data))
        for name, path in links.items():
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.SYMTYPE
            entry.linkname = path
            archive.addfile(entry)


def test_a_hostile_pack_writes_nothing_outside(tmp_path: Path) -> None:
    core = c_crash("null", tmp_path)
    manifest = {"format": "triage-pack-1", "links": {"/../../esc2": "/etc/passwd", "/etc/x": "/../../../etc/passwd"}}
    members = {
        "pack.json": json.dumps(manifest).encode(), "core": core.read_bytes(), "../escape": b"x", "/abs": b"x",
        "root/../../escape": b"x", "debug/.build-id/zz/a.debug": b"x", "root/usr/lib/good": b"\x7fELF",
    }  # fmt: skip
    _hostile(tmp_path / "x.pack", members, {"root/link": "/etc/shadow"})
    before = sorted(path.name for path in tmp_path.iterdir())
    assert _show(tmp_path / "x.pack")["signal"]["name"] == "SIGSEGV"
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    (tmp_path / "cut.pack").write_bytes((tmp_path / "x.pack").read_bytes()[:1500])
    result = CliRunner().invoke(triage, ["show", str(tmp_path / "cut.pack")])
    assert getattr(result.exception, "code", None) == "truncated"


@pytest.fixture
def split(tmp_path: Path) -> tuple[Path, Path]:
    """The core of a stripped program and its debug file, which lies nowhere GDB looks by itself."""
    core = c_crash("null", tmp_path, "-g", "-Wl,--build-id")
    program, debug = tmp_path / "null", tmp_path / "elsewhere" / "null-1.2.dbg"
    debug.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", str(program), str(debug)], check=True)
    subprocess.run(["strip", "-g", str(program)], check=True)
    return core, debug


def _lines(core: Path, *options: str) -> list[int | None]:
    crash = _show(core, *options)
    return [frame["line"] for frame in crash["threads"][0]["frames"] if (frame["file"] or "").endswith("null.c")]


def test_debug_files_by_link_by_folder_and_by_name(split: tuple[Path, Path], tmp_path: Path) -> None:
    core, debug = split
    assert _lines(core) == []
    assert _lines(core, "--debug-dir", str(debug.parent)) != []
    # .gnu_debuglink, with a wrong file of that name in the first place that is looked at
    subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", str(tmp_path / "null")], check=True)
    (tmp_path / debug.name).write_bytes(b"\x7fELF, but another")
    assert _lines(core) == []
    (tmp_path / ".debug").mkdir()
    shutil.copy(debug, tmp_path / ".debug" / debug.name)
    assert _lines(core) != []


def test_a_program_that_moved_is_found_by_its_build_id(split: tuple[Path, Path], tmp_path: Path) -> None:
    core, _ = split
    shelf = tmp_path / "shelf" / "deep"
    shelf.mkdir(parents=True)
    shutil.move(tmp_path / "null", shelf / "some-name")
    assert _show(core)["modules"][0]["symbols"] == "missing"
    assert _show(core, "--debug-dir", str(tmp_path / "shelf"))["modules"][0]["symbols"] == "full"
    shutil.copy("/bin/true", tmp_path / "null")  # another build under the old name is never used
    assert _show(core)["modules"][0]["symbols"] == "mismatch"
    assert _show(core, "--debug-dir", str(tmp_path / "shelf"))["modules"][0]["symbols"] == "full"


def test_names_in_gnu_debugdata(split: tuple[Path, Path], tmp_path: Path) -> None:
    """MiniDebugInfo as Fedora's packages have it: names of static functions, no lines."""
    core, _ = split
    program = tmp_path / "null"
    mini = tmp_path / "mini.debug"
    subprocess.run(["objcopy", "--only-keep-debug", str(program), str(mini)], check=True)
    subprocess.run(["xz", "-k", str(mini)], check=True)
    subprocess.run(["strip", str(program)], check=True)
    bare = {frame["function"] for frame in _show(core)["threads"][0]["frames"]}
    subprocess.run(["objcopy", f"--add-section=.gnu_debugdata={mini}.xz", str(program)], check=True)
    found = _show(core)
    assert {"main"} <= {frame["function"] for frame in found["threads"][0]["frames"]}
    assert found["modules"][0]["symbols"] == "full"
    assert "main" not in bare


class _Server(http.server.BaseHTTPRequestHandler):
    """A debuginfod with one build, as its protocol says: /buildid/ID/debuginfo."""

    files: ClassVar[dict[str, Path]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.files.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        if found:
            self.wfile.write(found.read_bytes())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Server]]]:
    _Server.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}", _Server
        listening.shutdown()


def test_debuginfod_is_asked_only_when_named(
    split: tuple[Path, Path], server: tuple[str, type[_Server]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, debug = split
    url, handler = server
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DEBUGINFOD_URLS", url)
    build = _show(core)["build_id"]
    assert handler.asked == []
    handler.files = {f"/buildid/{build}/debuginfo": debug}
    assert _lines(core, "--debuginfod", url) != []
    assert f"/buildid/{build}/debuginfo" in handler.asked
    handler.files = {f"/buildid/{build}/debuginfo": Path("/bin/true")}  # a server that gives another build
    shutil.rmtree(tmp_path / "cache" / "triage" / "debuginfod")
    assert _lines(core, "--debuginfod", url) == []
