"""The fast lane and GDB give the same answer for every core of the corpus, or the fast lane says it defers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Maker, some
from tests.lab.native import c_crash, c_crashes, python_crash
from tests.lab.php import CASES, Case, Interpreter, make
from triage.config import Limits, Settings
from triage.corefile import open_core
from triage.demo.crashes import find_php
from triage.gdb import naming
from triage.gdb.known_calls import KnownCalls, Row, Seat
from triage.gdb.lanes import Lanes
from triage.gdb.session import GdbFailed, GdbSession
from triage.pipeline import Pipeline
from triage.symbols import Finder
from triage.unwind import Bounds, Tables, Walk, walk, walk_threads
from triage.wire import crash_to_json

pytestmark = pytest.mark.gdb


class Both:
    """One pipeline that reuses what it knows, one that asks GDB every time."""

    def __init__(self, fast: Pipeline, full: Pipeline) -> None:
        self.fast = fast
        self._full = full

    def agree(self, core: Path) -> str:
        """Both triage the core and must give one record; returns by which lane the fast one went."""
        before = dict(self.fast.lanes)
        assert _record(self.fast, core) == _record(self._full, core)
        return next(lane for lane, count in self.fast.lanes.items() if count > before.get(lane, 0))


def _record(pipeline: Pipeline, core: Path) -> dict[str, Any]:
    crash = pipeline.triage(core).crash
    assert crash is not None
    return {key: value for key, value in crash_to_json(crash).items() if key != "timing"}


FEW = (
    "ffi-write",
    "command-line",
    "callbacks",
    "generator",
    "fiber-above",
    "magic",
    "jit-callbacks",
    "overflow-methods",
)


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with Pipeline(Settings()) as fast, Pipeline(Settings(reuse=False)) as full:
        yield Both(fast, full)


@pytest.mark.php
@pytest.mark.parametrize("name", some([case.name for case in CASES], FEW))
def test_php(made: Maker, both: Both, tmp_path: Path, name: str) -> None:
    """Learned from one core, used for another process's of the same crash, at other addresses."""
    first = made(name)
    assert both.agree(first.core) in ("asked", "reused", "composed", "named")
    php = find_php()
    assert php is not None
    second = make(first.case, Interpreter(php.version), tmp_path)
    lane = both.agree(second.core)
    # Where an endless recursion meets the end of its stack is another place each time.
    assert lane == "reused" or (first.case.endless and lane in ("asked", "named"))
    assert both.agree(second.core) == "reused"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("flags", [("-O0", "-g"), ("-O2", "-g"), ("-O2", "-s")], ids=" ".join)
@pytest.mark.parametrize("program", ["threads", "handler"])
def test_c(both: Both, tmp_path: Path, program: str, flags: tuple[str, ...]) -> None:
    core = c_crash(program, tmp_path, *flags)
    assert both.agree(core) == "asked"
    assert both.agree(core) == "reused"


ROADS = [("0",), ("1",), ("2",), ("3",), ("4",), ("5",)]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("flags", [("-O2", "-g"), ("-O2", "-g", "-fno-plt"), ("-O2", "-s")], ids=" ".join)
def test_frames_named_by_their_addresses_are_those_of_a_core_that_gdb_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    """Inlined functions and all; where GDB makes up frames for tail calls, the core is opened."""
    monkeypatch.setattr(Lanes, "_is_to_be_checked", lambda _lanes, _how: False)
    cores = c_crashes("tails", tmp_path, ROADS, *flags)
    with Pipeline(Settings()) as fast, Pipeline(Settings(reuse=False)) as full:
        lanes = Both(fast, full)
        ways = [lanes.agree(core) for core in cores]
    tails = "asked" if "-g" in flags else "named"
    expected = dict(zip("012345", ("asked", tails, "named", "named", ways[4], tails), strict=True))
    assert dict(zip("012345", ways, strict=True)) == expected  # the fifth's are the C library's own


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_core_opened_whole_in_between_does_not_pass_for_the_one_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has as many libraries, at other addresses; it is opened whole since it died where no file lies."""
    monkeypatch.setattr(Lanes, "_is_to_be_checked", lambda _lanes, _how: False)
    folder = tmp_path / "cores"  # in the program's own the next core would begin another GDB
    folder.mkdir()
    made = c_crashes("tails", tmp_path, [("0",), ("6",), ("2",)], "-O2", "-s")
    cores = [core.rename(folder / core.name) for core in made]
    with Pipeline(Settings()) as fast, Pipeline(Settings(reuse=False)) as full:
        lanes = Both(fast, full)
        ways = [lanes.agree(core) for core in cores]
    assert ways == ["asked", "deferred: code outside every module", "named"]


def test_python(both: Both, tmp_path: Path) -> None:
    core = python_crash(tmp_path)
    assert both.agree(core) == "asked"
    assert both.agree(core) == "reused"


@pytest.mark.php
def test_a_deep_recursion_is_walked_by_the_fast_lane_alone(made: Maker) -> None:
    """GDB sees its two ends; what it would have counted between them is right all the same."""
    with Pipeline(Settings()) as ends, Pipeline(Settings(reuse=False, limits=Limits(walk_frames=20_000))) as whole:
        core = made("overflow-methods").core
        assert _record(ends, core)["threads"][0]["depth"] == _record(whole, core)["threads"][0]["depth"] > 10_000


@pytest.mark.php
@pytest.mark.parametrize("name", ["overflow-methods", "kill-900"])
def test_a_recursion_gone_over_at_once_is_as_if_walked_frame_by_frame(
    made: Maker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    core = made(name).core
    found = _walked(core)
    assert found.reason is None
    monkeypatch.setattr(walk, "turns", lambda *_given: None)
    assert _walked(core) == found


def _walked(core: Path) -> Walk:
    finder = Finder()
    with open_core(core) as opened:
        opened.memory.use_files(finder.backing(opened.modules))
        bounds = Bounds(inner=64, outer=40, most=5_000_000)
        return next(walk_threads(opened, Tables(finder), None, bounds, bounds, 1))


_THROUGH = "function f($n) {{ $n || oracle() && posix_kill(posix_getpid(), 11); array_map('f', [$n - 1]); }} f({});"


@pytest.fixture(scope="module")
def deeper(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One recursion through a built-in function, of several depths: other stacks of the same calls."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    folder = tmp_path_factory.mktemp("deeper")
    cases = [Case(name=f"deep-{n}", script="oracle.php", code=_THROUGH.format(n)) for n in (3, 5, 6, 7, 8, 9)]
    return [make(case, Interpreter(php.version), folder).core for case in cases]


def _lanes_of(cores: list[Path]) -> dict[str, int]:
    """By which lanes these cores go, each with the record that GDB alone gives."""
    with Pipeline(Settings()) as fast, Pipeline(Settings(reuse=False)) as full:
        for core in cores:
            assert _record(fast, core) == _record(full, core), core.name
        return dict(fast.lanes)


@pytest.mark.php
def test_a_new_stack_of_known_calls_is_put_together_as_gdb_shows_it(deeper: list[Path]) -> None:
    with Pipeline(Settings()) as fast, Pipeline(Settings(reuse=False)) as full:
        for core in deeper:
            assert _record(fast, core) == _record(full, core), core.name
        # The first is GDB's; of those that can be put together it is asked about the first, second and fourth.
        assert dict(fast.lanes) == {"asked": 4, "composed": 2}
        assert _record(fast, deeper[3]) == _record(full, deeper[3])
        assert fast.lanes["reused"] == 1


@pytest.mark.php
def test_of_stacks_named_without_their_cores_gdb_opens_ever_fewer(
    deeper: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KnownCalls, "compose", lambda *_given: None)
    assert _lanes_of(deeper) == {"asked": 4, "named": 2}


@pytest.mark.php
def test_where_a_core_that_gdb_opens_says_otherwise_none_is_named_without_its_own_any_more(
    deeper: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = naming.named

    def wrong(*given: Any) -> dict[str, Any]:
        answer = true(*given)
        answer["threads"][0]["frames"][1]["name"] = "somebody_else"
        return answer

    monkeypatch.setattr(KnownCalls, "compose", lambda *_given: None)
    monkeypatch.setattr(naming, "named", wrong)
    assert _lanes_of(deeper) == {"asked": 6}


@pytest.mark.php
def test_where_cores_are_removed_meanwhile_gdb_opens_each(
    deeper: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(KnownCalls, "compose", lambda *_given: None)
    with Pipeline(Settings()) as fast, Pipeline(Settings(reuse=False)) as full:
        for core in deeper:
            copy = tmp_path / core.name
            shutil.copy(core, copy)
            assert _record(fast, copy) == _record(full, copy), core.name
            copy.unlink()
        assert dict(fast.lanes) == {"asked": 6}


@pytest.mark.php
def test_a_gdb_that_dies_over_addresses_is_asked_for_cores_alone(
    deeper: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(session: GdbSession, *_given: object) -> dict[str, Any]:
        session.kill()
        raise GdbFailed("GDB ended with exit code 1")

    monkeypatch.setattr(KnownCalls, "compose", lambda *_given: None)
    monkeypatch.setattr(GdbSession, "name", dead)
    assert _lanes_of(deeper) == {"asked": 6}


@pytest.mark.php
def test_where_gdb_says_otherwise_no_stack_is_put_together_any_more(
    deeper: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = KnownCalls.compose

    def wrong(calls: KnownCalls, seats: Sequence[Seat]) -> tuple[tuple[Row, ...], int] | None:
        found = true(calls, seats)
        if found is None:
            return None
        first, *rest = found[0]
        return (replace(first, static={**first.static, "name": "somebody_else"}), *rest), found[1]

    monkeypatch.setattr(KnownCalls, "compose", wrong)
    assert _lanes_of(deeper) == {"asked": 6}
