"""The Python stack read from a core equals what traceback.extract_stack() said just before the crash."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Triaged, some
from tests.lab.interpreters import PYTHONS, Program, Release, ensure
from tests.lab.python import CASES, Made, crashed, make, program, shown, system_python
from tests.lab.suites import CannotMake

pytestmark = [pytest.mark.python, pytest.mark.gdb]

Maker = Callable[[str], Made]
NAMES = [case.name for case in CASES]
OLDER = ("3.6.", "3.7.")
FEW = ("callbacks", "generators", "threads")
"""The cases run with every Python; all cases with `--whole`."""
BUILDS = sorted(
    path for path in Path.home().glob(".pyenv/versions/3.*/bin/python3") if path.parts[-3][:4] not in OLDER
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes a case with this machine's Python; the same case twice is the same core."""
    try:
        return _maker(system_python(), tmp_path_factory.mktemp("python"))
    except CannotMake as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda release: release.name)
def made_by_release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """The same with the Python of another Debian release."""
    release: Release = request.param
    try:
        return _maker(ensure(release), tmp_path_factory.mktemp(release.name))
    except CannotMake as reason:
        pytest.skip(f"{release.name} cannot be had: {reason}")


@pytest.fixture(scope="module", params=BUILDS, ids=lambda path: path.parent.parent.name)
def made_by_build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """The same with a Python built here: a shared libpython, with symbols."""
    return _maker(program(request.param), tmp_path_factory.mktemp("build"))


def _maker(python: Program, folder: Path) -> Maker:
    kept: dict[str, Made] = {}

    def maker(name: str) -> Made:
        if name not in kept:
            kept[name] = make(next(case for case in CASES if case.name == name), python, folder)
        return kept[name]

    return maker


@pytest.mark.parametrize("name", NAMES)
def test_this_python(made: Maker, triaged: Triaged, name: str) -> None:
    _holds(made(name), triaged)


@pytest.mark.suites
@pytest.mark.parametrize("name", some(NAMES, FEW))
def test_other_releases(made_by_release: Maker, triaged: Triaged, name: str) -> None:
    _holds(made_by_release(name), triaged)


@pytest.mark.parametrize("name", some(NAMES, FEW))
def test_builds(made_by_build: Maker, triaged: Triaged, name: str) -> None:
    _holds(made_by_build(name), triaged)


def _holds(made: Made, triaged: Triaged) -> None:
    crash = triaged(made.core, made.root)
    calls, hidden = shown(crash), _hidden(crash)
    at = _before_gap(crash) if hidden else len(calls)
    assert calls == [*made.frames[:at], *made.frames[at + hidden :]]
    assert hidden == 0 or made.case.name.startswith("deep")
    assert [w for w in crash["warnings"] if "Python" in w or "script" in w] == []
    assert (crash["signal"]["name"], crash["runtime"]["name"]) == (made.case.signal, "python")
    assert crash["runtime"]["version"].split("rc")[0].split("b")[0] == made.version
    assert crashed(crash)["name"] == made.thread == made.case.thread
    assert (
        crash["runtime"]["state"]["GIL"]
        == f"held by thread {crashed(crash)['id']} ({made.thread}), the one that crashed"
    )
    assert _loops(crash) == _activations(crash)
    assert "line unknown" not in str(crash["threads"])


def _loops(crash: dict[str, Any]) -> int:
    frames = crashed(crash)["frames"]
    return sum((frame["function"] or "").split(".cold")[0] == "_PyEval_EvalFrameDefault" for frame in frames)


def _activations(crash: dict[str, Any]) -> int:
    """Runs of Python frames, each right before the native loop that ran them."""
    frames = crashed(crash)["frames"]
    return sum(inner["kind"] == "python" and outer["kind"] == "native" for inner, outer in pairwise(frames))


def _hidden(crash: dict[str, Any]) -> int:
    """How many script frames the gap of a very deep stack says it leaves out."""
    gap = next((frame for frame in crashed(crash)["frames"] if frame["kind"] == "gap"), None)
    found = re.search(r"(\d+) script frames", gap["note"]) if gap else None
    return int(found[1]) if found else 0


def _before_gap(crash: dict[str, Any]) -> int:
    """Python frames inside of the gap, without the recorder's."""
    frames = crashed(crash)["frames"]
    inner = frames[: next(at for at, frame in enumerate(frames) if frame["kind"] == "gap")]
    return len(shown({"threads": [{"crashed": True, "frames": inner}]}))
