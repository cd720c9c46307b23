"""Bugs on file: changelogs, stacks without the application, and a base built from tests of our own."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.planted import plant
from triage.config import Settings
from triage.errors import EnvironmentLacks
from triage.insight.known import news
from triage.insight.known import source as known_source
from triage.insight.known.build import build, interpreter
from triage.insight.known.phpt import read
from triage.insight.known.source import Source, source
from triage.insight.known.trace import Base, stack, tokens
from triage.insight.sandbox import Sandbox, own_user
from triage.model import Crash, Frame, KnownBug, Signal, Status, Thread
from triage.pipeline import Pipeline

NEWS = """PHP                                                                        NEWS
|||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||
12 Nov 2026, PHP 8.4.20

- Core:
  . Fixed bug GH-17577 (JIT packed type guard crash). (someone)
  . Fixed GH-20001 (array_multisort() reorders the
    wrong array and leads to use-after-free). (someone)

- Opcache:
  . Improved speed. (someone)

01 Oct 2026, PHP 8.4.19

- Zip:
  . Fixed CVE-2026-1 (Memory leak in ZipArchive::close()). (someone)
"""


def test_a_changelog_is_read_line_by_line() -> None:
    found = news.entries(NEWS)

    assert [(one.version, one.module, one.bugs, one.is_crash) for one in found] == [
        ("8.4.20", "Core", ("GH-17577",), True),
        ("8.4.20", "Core", ("GH-20001",), True),
        ("8.4.20", "Opcache", (), False),
        ("8.4.19", "Zip", ("CVE-2026-1",), True),
    ]
    assert found[1].text == (
        "Fixed GH-20001 (array_multisort() reorders the wrong array and leads to use-after-free). (someone)"
    )


def test_possibly_fixed_needs_a_newer_version_and_rare_words() -> None:
    index = news.Index(news.entries(NEWS))

    (first,) = index.search(list(news.words("zif_array_multisort array_multisort")), ["Core"], (8, 4, 19))

    assert (first.entry.bugs, first.words) == (("GH-20001",), ("array_multisort",))
    assert index.search(["array_multisort"], ["Core"], (8, 4, 20)) == []
    assert index.search(["something_else"], ["Core"], (8, 2, 0)) == []
    assert index.in_module(["Core"], (8, 4, 19)) == 2


def test_the_changelog_of_this_machines_php_is_there() -> None:
    if not Path("/usr/share/doc/php8.2-common/changelog.gz").exists():
        pytest.skip("no php8.2-common")
    text = news.installed("8.2.36")
    assert text is not None
    assert len(news.entries(text)) > 500
    assert news.installed("9.9.1") is None


def test_a_package_that_is_not_installed_is_read(tmp_path: Path) -> None:
    doc = tmp_path / "root/usr/share/doc/php9-common"
    (tmp_path / "root/DEBIAN").mkdir(parents=True)
    doc.mkdir(parents=True)
    with gzip.open(doc / "changelog.gz", "wt") as file:
        file.write(NEWS)
    (tmp_path / "root/DEBIAN/control").write_text(
        "Package: php9-common\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n"
    )
    deb = tmp_path / "p.deb"
    subprocess.run(["dpkg-deb", "-b", str(tmp_path / "root"), str(deb)], check=True, capture_output=True)

    assert news.changelog_in(deb) == NEWS
    deb.write_bytes(deb.read_bytes()[:200])
    assert news.changelog_in(deb) is None


def frame(function: str, module: str = "/usr/bin/php8.2", kind: str = "native", file: str | None = None) -> Frame:
    return Frame(kind=kind, function=function, module=module if kind == "native" else None, file=file)


def crash(*frames: Frame, signal: str = "SIGSEGV") -> Crash:
    thread = Thread(id=1, name=None, crashed=True, depth=len(frames), truncated=False, frames=frames)
    return Crash(
        id="c", core="c", status=Status.OK, time=None, host=None, pid=1, executable=None, build_id=None, arguments=(),
        signal=Signal(number=11, name=signal), runtime=None, threads=(thread,), modules=(),
    )  # fmt: skip


def bug(name: str, found: Crash) -> KnownBug:
    return KnownBug(bug=name, signature="", title="", frames=stack(found), fixed=("8.4.2",), entry=None,
                    killed="8.2.36", source="", script="")  # fmt: skip


SORT = (frame("php_multisort_compare"), frame("zend_sort"), frame("zif_array_multisort"),
        frame("array_multisort", kind="php"))  # fmt: skip


def test_the_application_round_a_bug_makes_no_difference() -> None:
    test = crash(*SORT, frame("{main}", kind="php", file="/t/gh19300.php"), frame("execute_ex"))
    served = crash(*SORT, frame("handle", kind="php", file="/srv/Controller.php"), frame("execute_ex"),
                   frame("zif_array_map"), frame("array_map", kind="php"))  # fmt: skip

    (match,) = Base([bug("GH-19300", test)]).matches(stack(served))

    assert (match.bug.bug, match.same) == ("GH-19300", True)
    assert match.shared[0] == "php!php_multisort_compare"


def test_another_innermost_frame_or_signal_is_no_match() -> None:
    base = Base([bug("GH-19300", crash(*SORT))])

    assert base.matches(stack(crash(frame("memcpy", "/lib/libc.so.6"), *SORT))) == []
    assert base.matches(stack(crash(*SORT, signal="SIGABRT"))) == []
    assert base.matches(stack(crash())) == []


def test_what_many_bugs_share_is_not_enough() -> None:
    common = (frame("zend_mm_alloc_small"),)
    base = Base([bug(f"GH-{at}", crash(*common, frame(f"f{at}"))) for at in range(30)])

    assert base.matches(stack(crash(*common))) == []
    assert [match.bug.bug for match in base.matches(stack(crash(*common, frame("f7"))))] == ["GH-7"]


PHPT = """--TEST--
GH-90001 (FFI writes to NULL)
--EXTENSIONS--
ffi
--INI--
ffi.enable = 1
--FILE--
<?php
FFI::cdef("void *memset(void *s, int c, size_t n);")->memset(FFI::cast("void*", 16), 0, 1);
?>
--EXPECT--
"""


def tree(folder: Path) -> Path:
    (folder / "php-9/ext/ffi/tests").mkdir(parents=True)
    (folder / "php-9/ext/ffi/tests/gh90001.phpt").write_text(PHPT)
    (folder / "php-9/ext/ffi/tests/gh90002.phpt").write_text(
        PHPT.replace("->memset(", "->memset; (").replace("16", "1")
    )
    (folder / "php-9/ext/ffi/tests/gh90003.phpt").write_text("no sections")
    (folder / "php-9/NEWS").write_text(NEWS.replace("GH-17577", "GH-90001"))
    return folder


def test_regression_tests_are_read(tmp_path: Path) -> None:
    folder = tree(tmp_path) / "php-9/ext/ffi/tests"

    test = read(folder / "gh90001.phpt")

    assert test is not None
    assert (test.bug, test.settings, test.extensions) == (90001, ("ffi.enable=1",), ("ffi",))
    assert test.script.startswith("<?php\nFFI::cdef")
    assert read(folder / "gh90003.phpt") is None


def test_a_source_archive_gives_tests_and_news_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tree(tmp_path) / "php-9/main.c").write_text("int main;")
    archive = tmp_path / "php-9.tar.xz"
    subprocess.run(["tar", "-cJf", str(archive), "-C", str(tmp_path), "php-9"], check=True)

    found = source(str(archive), None)

    assert "GH-90001" in found.news
    assert len(list(found.tree.rglob("*.phpt"))) == 3
    assert not list(found.tree.rglob("*.c"))


def repository(place: Path, versions: dict[str, bool]) -> Path:
    """A Debian archive of php9.9's sources: its list names all versions, the files are there of those that say so."""
    (place / "pool").mkdir(parents=True)
    (place / "dists/new/main/source").mkdir(parents=True)
    listed = []
    for version, there in versions.items():
        upstream = version.partition("-")[0]
        archive = place / f"pool/php9.9_{upstream}.orig.tar.xz"
        subprocess.run(["tar", "-cJf", str(archive), "-C", str(place.parent), "php-9"], check=True)
        description = place / f"pool/php9.9_{version}.dsc"
        description.write_text(f"Format: 3.0 (quilt)\nSource: php9.9\nVersion: {version}\n")
        files = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path.name)
                 for path in (archive, description)]  # fmt: skip
        sums = "".join(f" {digest} {size} {name}\n" for digest, size, name in files)
        listed.append(f"Package: php9.9\nBinary: php9.9\nVersion: {version}\nFormat: 3.0 (quilt)\n"
                      f"Directory: pool\nChecksums-Sha256:\n{sums}")  # fmt: skip
        if not there:
            archive.unlink()
    (place / "dists/new/main/source/Sources").write_text("\n".join(listed))
    return place


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_a_source_package_comes_from_the_newest_version_that_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree(tmp_path)
    archive = repository(tmp_path / "archive", {"9.9.2-1": True, "9.9.10-1": False, "9.9.9-1": True})
    monkeypatch.setattr(known_source, "_lists", lambda _: [f"deb-src [trusted=yes] file:{archive} new main"])

    found = source("php9.9", None)

    assert found.name == "php9.9 9.9.9"
    assert "GH-90001" in found.news


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_a_source_package_that_no_mirror_has_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree(tmp_path)
    archive = repository(tmp_path / "archive", {"9.9.2-1": False, "9.9.10-1": False})
    monkeypatch.setattr(known_source, "_lists", lambda _: [f"deb-src [trusted=yes] file:{archive} new main"])

    with pytest.raises(EnvironmentLacks) as raised:
        source("php9.9", None)

    said = raised.value.message
    assert said.startswith("the source of php9.9 cannot be fetched, although apt knows it: 9.9.10-1 (Failed to fetch")
    assert "; 9.9.2-1 (Failed to fetch" in said
    with pytest.raises(EnvironmentLacks, match=r"apt finds no source of php9\.7 in new"):
        source("php9.7", "new")


@pytest.mark.php
@pytest.mark.gdb
@pytest.mark.skipif(shutil.which("php") is None, reason="needs php")
def test_a_base_is_built_from_what_kills_this_php(tmp_path: Path) -> None:
    place = tree(tmp_path)
    said: list[str] = []
    with Pipeline(Settings()) as pipeline:
        bugs = list(build(Source(place, "php 9", (place / "php-9/NEWS").read_text()), interpreter("php"), pipeline,
                          Sandbox(user=own_user()), oldest=15_000, say=said.append))  # fmt: skip

    assert {one.bug for one in bugs} == {"GH-90001"}
    first = bugs[0]
    assert (first.fixed, first.extensions, first.settings) == (("8.4.20",), ("ffi",), ("ffi.enable=1",))
    assert first.frames[0] == "SIGSEGV"
    assert tokens(first.frames)[0] == "libc.so!memset"
    assert "php:FFI::memset" in tokens(first.frames)
    assert Base(bugs).matches(first.frames)[0].same
    assert Base([replace(first, bug="x")]).matches(("SIGABRT", *first.frames[1:])) == []
    assert said[0] == f"2 tests of php 9 on PHP {interpreter('php').version}"


def test_scripts_are_planted_in_an_application_when_they_can_be() -> None:
    found = plant("<?php\necho 1;\n?>")

    assert found is not None
    assert "function _planted() {\n\necho 1;\n" in found.code
    assert plant("<?php\nnamespace A;\n") is None
    assert plant("plain text") is None
