"""The Perl stack read from a core equals what caller() said just before the crash."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Triaged
from tests.lab import perl
from tests.lab.interpreters import PERLS, Call, Made, Program, Release, ensure
from tests.lab.suites import CannotMake
from triage.demo.lab import NoCrash

pytestmark = [pytest.mark.perl, pytest.mark.gdb]


@pytest.fixture
def this_perl() -> Program:
    """This machine's Perl."""
    path = shutil.which("perl")
    if path is None:
        pytest.skip("no perl here: apt install perl")
    return Program(path, (5, 0))


@pytest.mark.parametrize("name", perl.CASES)
def test_this_perl(this_perl: Program, triaged: Triaged, tmp_path: Path, name: str) -> None:
    _holds(perl.make(name, this_perl, tmp_path), triaged)


@pytest.mark.suites
@pytest.mark.parametrize("name", ["nested", *(pytest.param(n, marks=pytest.mark.whole) for n in perl.CASES[2:])])
@pytest.mark.parametrize("release", PERLS, ids=lambda release: release.name)
def test_other_releases(release: Release, triaged: Triaged, tmp_path: Path, name: str) -> None:
    try:
        program = ensure(release)
    except CannotMake as reason:
        pytest.skip(f"{release.name} cannot be had: {reason}")
    _holds(perl.make(name, program, tmp_path), triaged)


def test_a_thread_of_perl(this_perl: Program, triaged: Triaged, tmp_path: Path) -> None:
    """Each thread has an interpreter of its own."""
    try:
        made = perl.make(perl.THREADED, this_perl, tmp_path)
    except NoCrash as reason:
        pytest.skip(f"this perl has no threads: {reason}")
    crash = triaged(made.core, None)
    assert perl.shown(crash) == [*made.frames[:-1], Call("{main}", made.frames[-1].file, made.frames[-1].line)]
    assert len(crash["threads"]) == 3


def test_facts(this_perl: Program, triaged: Triaged, tmp_path: Path) -> None:
    crash = triaged(perl.make("main", this_perl, tmp_path).core, None)
    runtime = crash["runtime"]
    assert (runtime["name"], runtime["script"]) == ("perl", str(perl.SCRIPTS / "main.pl"))
    assert runtime["last_error"]["message"] == "price of item 17"
    assert runtime["extensions"].keys() >= {"POSIX", "Fcntl"}
    assert all(version and version[0].isdigit() for version in runtime["extensions"].values())
    assert runtime["extension_files"]["POSIX"].endswith("/POSIX.so")


def _holds(made: Made, triaged: Triaged) -> None:
    crash = triaged(made.core, made.root)
    assert perl.shown(crash) == list(made.frames)
    assert crash["warnings"] == []
    assert _loops(crash) == _activations(crash)


def _loops(crash: dict[str, Any]) -> int:
    frames = next(thread for thread in crash["threads"] if thread["crashed"])["frames"]
    return sum(frame["function"] == "Perl_runops_standard" for frame in frames)


def _activations(crash: dict[str, Any]) -> int:
    """Runs of Perl frames, each right before the native loop that ran them."""
    frames = next(thread for thread in crash["threads"] if thread["crashed"])["frames"]
    return sum(
        inner["kind"] == "perl" and outer["function"] == "Perl_runops_standard" for inner, outer in pairwise(frames)
    )
