"""PHP is found without its names: by its extensions' slots, by search, and in each thread of a thread-safe build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crashes.conftest import Maker, show
from tests.lab import builds
from tests.lab.native import c_crash, python_crash
from tests.lab.php import FIXTURES, Case, Made, passed, said, shown, shown_calls
from tests.lab.suites import CannotMake
from triage.corefile import CoreFile, open_core
from triage.demo.lab import Process, crash
from triage.runtimes.php.globals import Php, find_php
from triage.symbols import Finder

pytestmark = [pytest.mark.php]

CASES = ("kill-main", "callbacks", "generator", "fiber", "opcache", "jit-function", "output")
SYMBOLS = frozenset({"symbols"})
NAMES = frozenset({"symbols", "relocations"})


@contextmanager
def opened(made: Made) -> Iterator[tuple[CoreFile, Finder]]:
    with open_core(made.core) as core:
        finder = Finder(made.sysroot)
        core.memory.use_files(finder.backing(core.modules))
        yield core, finder


def same_as_by_name(made: Made, without: frozenset[str], least: set[str]) -> None:
    """Whatever is found without the names is where the names say, and `least` is found."""
    with opened(made) as (core, finder):
        true, found = find_php(core, finder), find_php(core, finder, without=without)
    assert isinstance(true, Php)
    assert isinstance(found, Php)
    assert {name: true.address(name) for name in found.addresses} == found.addresses
    assert least <= set(found.addresses)
    assert set(found.provenance.values()) & {"symbol"} == set()
    assert (found.version, found.zts, found.debug) == (true.version, true.zts, true.debug)
    assert found.extensions == true.extensions


@pytest.mark.parametrize("name", CASES)
def test_search_agrees_with_the_names(made: Maker, name: str) -> None:
    same_as_by_name(made(name), NAMES, {"executor_globals", "core_globals", "module_registry"})


@pytest.mark.suites
@pytest.mark.parametrize("name", ["callbacks", "generator", "opcache"])
def test_search_agrees_with_the_names_in_other_versions(made_by_suite: Maker, name: str) -> None:
    same_as_by_name(made_by_suite(name), NAMES, {"executor_globals", "core_globals", "module_registry"})


def test_slots_of_extensions_agree_with_the_names(made: Maker) -> None:
    same_as_by_name(
        made("callbacks"), SYMBOLS, {"executor_globals", "module_registry", "sapi_globals", "basic_globals"}
    )


def test_other_programs_are_not_taken_for_php(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "python").mkdir()
    for core_path in (c_crash("threads", tmp_path / "c"), python_crash(tmp_path / "python")):
        with open_core(core_path) as core:
            finder = Finder()
            core.memory.use_files(finder.backing(core.modules))
            assert find_php(core, finder) is None


def test_without_the_program_itself_the_stack_is_still_there(made: Maker, tmp_path: Path) -> None:
    """A sysroot without php: the binary was upgraded or the core comes from another machine."""
    whole = made("callbacks")
    found = show(Made(whole.case, whole.core, whole.frames, sysroot=tmp_path, passed=whole.passed))
    assert shown(found) == list(whole.frames)
    assert shown_calls(found, "posix_kill") == list(whole.passed)
    assert found["runtime"]["sapi"] == "cli"


@pytest.fixture(scope="module")
def built() -> builds.Builds:
    try:
        return builds.ensure()
    except CannotMake as reason:
        pytest.skip(str(reason))


def run(program: Path, folder: Path, case: Case, *arguments: str) -> Made:
    run_in = folder / "run"
    run_in.mkdir()
    oracle = run_in / "oracle.json"
    process = Process(argv=(str(program), *arguments), folder=run_in, env={"TRIAGE_ORACLE": str(oracle)})
    core = crash(process, folder / "built.core")
    return Made(case, core, tuple(said(oracle, case)), passed=tuple(passed(oracle)))


@pytest.mark.whole
@pytest.mark.parametrize("variant", ["plain", "stripped", "hidden"])
@pytest.mark.parametrize("script", ["callbacks", "generator", "magic", "fibers"])
def test_thread_safe_builds(built: builds.Builds, variant: str, script: str, tmp_path: Path) -> None:
    case = Case(name=script, script=f"{script}.php")
    made = run(getattr(built, variant), tmp_path, case, str(FIXTURES / case.script))
    found = show(made)
    assert shown(found) == list(made.frames)
    assert shown_calls(found, "posix_kill") == list(made.passed)
    assert (found["runtime"]["zts"], found["runtime"]["version"], found["runtime"]["sapi"]) == (True, "8.2.32", "cli")
    assert found["runtime"]["heap"]["state"] == "intact"
    if script != "fibers" or variant != "hidden":
        assert found["warnings"] == []


@pytest.mark.whole
def test_each_thread_has_its_own_stack(built: builds.Builds, tmp_path: Path) -> None:
    case = Case(name="threads", script="thread_crash.php", culprit=(None, "crash"))
    scripts = (str(FIXTURES / "thread_rest.php"), str(FIXTURES / "thread_crash.php"))
    made = run(built.embed, tmp_path, case, *scripts)
    found = show(made)
    assert shown(found) == list(made.frames)
    others = [thread for thread in found["threads"] if not thread["crashed"]]
    stacks = [[f["function"] for f in thread["frames"] if f["kind"] == "php"] for thread in others]
    assert sorted(stacks) == [[], ["rest", "wait", "wait", "wait", "{main}"]]
