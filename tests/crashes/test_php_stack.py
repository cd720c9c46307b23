"""The PHP stack read from a core equals what debug_backtrace() said just before the crash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.crashes.conftest import Maker, show, some
from tests.lab import fpm
from tests.lab.php import CASES, CONSTANT, FIXTURES, Call, Interpreter, Made, make, shown, shown_calls, without_oracle
from triage.cli.main import triage
from triage.demo import lab
from triage.demo.crashes import find_php
from triage.gdb.locate import find_gdb

pytestmark = [pytest.mark.php, pytest.mark.gdb]

FINITE = [case.name for case in CASES if not case.endless and case.name != "constant"]
FEW = ("kill-1", "callbacks", "generator", "eval", "magic", "fibers", "jit-tracing")
"""Of each other release in every run; the rest with --whole."""
ENDLESS = [case.name for case in CASES if case.endless]


@pytest.mark.parametrize("name", [*FINITE, fpm.CASE.name])
def test_this_php(made: Maker, name: str) -> None:
    _holds(made(name))


@pytest.mark.suites
@pytest.mark.parametrize("name", some(FINITE, FEW))
def test_other_php(made_by_suite: Maker, name: str) -> None:
    _holds(made_by_suite(name))


@pytest.mark.suites
def test_a_constant_being_worked_out(made_by_suite: Maker) -> None:
    """PHP 8.3 and newer note which one; it stands where it was asked for, not innermost."""
    made = made_by_suite("constant")
    calls = shown(show(made))
    assert calls[-2] == Call(CONSTANT, None, made.frames[-1].file, 14)
    assert [*calls[:-2], calls[-1]] == list(made.frames)


@pytest.mark.parametrize("name", ENDLESS)
def test_recursion_of_this_php(made: Maker, name: str) -> None:
    _recursion_holds(made(name))


@pytest.mark.suites
@pytest.mark.parametrize("name", some(ENDLESS, ["overflow-methods"]))
def test_recursion_of_other_php(made_by_suite: Maker, name: str) -> None:
    _recursion_holds(made_by_suite(name))


def test_a_core_written_by_gdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gcore leaves out every mapping that holds only a file's own bytes; the kernel announces them."""
    monkeypatch.setattr(lab, "find_core", lambda folder, pid, since: None)
    php = find_php()
    assert php is not None
    case = next(case for case in CASES if case.name == "callbacks")
    _holds(make(case, Interpreter(php.version), tmp_path, find_gdb()))


def test_each_fiber_has_its_own_stack(made: Maker) -> None:
    found = show(made("fibers"))["runtime"]["fibers"]
    names = [[frame["function"] for frame in fiber["frames"]] for fiber in found]
    assert [(fiber["status"], fiber["depth"]) for fiber in found] == [
        ("running", 2),
        ("waiting", 2),
        ("suspended", 5),
    ]
    assert names == [["posix_kill", "crash"], ["start", "{closure}"], ["suspend", "rest", "rest", "rest", "rest"]]
    assert [frame["line"] for frame in found[2]["frames"]] == [None, 9, 9, 9, 9]


def test_what_php_calls_on_its_own(made: Maker) -> None:
    crash = show(made("output"))
    assert crash["runtime"]["callbacks"] == [
        "error handler: Filter::inner()",
        f"shutdown function: closure {FIXTURES}/output.php:28",
    ]


def test_values_are_shown_only_on_demand(made: Maker) -> None:
    core = str(made("magic").core)
    plain, asked = (
        CliRunner().invoke(triage, ["show", core, "--section", "stack", *more]) for more in ([], ["--values"])
    )
    assert "Proxy->__call(name: string(7), arguments: array(3))" in plain.stdout
    assert "stands in for missing()" in plain.stdout
    assert 'Proxy->__call(name: "missing", arguments: array(3))' in asked.stdout
    assert "Proxy->__invoke(ratio: 1.5, nothing: null, string(4)" in asked.stdout.replace('"text"', "string(4)")


def test_sections_can_be_chosen(made: Maker) -> None:
    done = CliRunner().invoke(
        triage, ["show", str(made("opcache").core), "--section", "opcache", "--section", "fibers"]
    )
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "nothing to show for 'fibers': this crash has none"
    assert "  cache       2 of 16229 scripts, 16.8 MB of shared memory" in done.stdout
    assert "restarts    0 because memory was full" in done.stdout


def test_the_request_is_shown_without_its_query(made: Maker) -> None:
    crash = show(made(fpm.CASE.name))
    request = crash["runtime"]["request"]
    assert (request["method"], request["uri"]) == ("GET", "/products/17")
    assert request["variables"]["_GET[id]"] == "string(2)"
    assert crash["runtime"]["sapi"] == "fpm-fcgi"
    assert crash["runtime"]["script"].endswith("/request.php")
    assert "hunter2" not in str(crash)


def test_jit_is_reported(made: Maker) -> None:
    with_jit, without = show(made("jit-function")), show(made("opcache"))
    assert (with_jit["runtime"]["jit"], without["runtime"]["jit"]) == (True, False)
    assert with_jit["runtime"]["options"]["opcache.jit"] == "1205"
    assert "Zend OPcache" in with_jit["runtime"]["extensions"]


def _holds(made: Made) -> None:
    crash = show(made)
    assert shown(crash) == list(made.frames)
    assert shown_calls(crash, made.case.culprit and made.case.culprit[1]) == list(made.passed)
    assert [frame["note"] for frame in crash["threads"][0]["frames"] if "unknown" in (frame["note"] or "")] == []
    assert crash["signal"]["name"] == made.case.signal
    assert crash["status"] == "ok"


def _recursion_holds(made: Made) -> None:
    """Every turn of the recursion is there: those shown, and those the gap says it left out."""
    crash = show(made)
    inner, hidden, outer = _parts(crash)
    cycle, outermost = _expected(made)
    total = len(inner) + hidden + len(outer)
    whole = [*cycle * (total // len(cycle) + 1)]
    assert outer == [*whole, *outermost][-len(outer) :]
    # From the outside in, so that it does not matter where in its turn the recursion ended.
    inwards = [*reversed(outermost), *(list(reversed(cycle)) * (total // len(cycle) + 2))]
    wanted = inwards[total - len(inner) : total]
    assert [frame.function for frame in reversed(inner)] == [frame.function for frame in wanted]
    assert list(reversed(inner))[:-1] == wanted[:-1]  # the innermost may stand on an earlier line
    turns = (total - len(outermost)) // len(cycle)
    assert made.calls is not None
    assert made.calls - 1 <= turns <= made.calls
    assert [finding["rule"] for finding in crash["findings"]][:3] == ["stack-overflow", "cause", "blame"]
    assert f"{turns} times over" in crash["findings"][0]["title"]


def _parts(crash: dict[str, Any]) -> tuple[list[Call], int, list[Call]]:
    """PHP frames inside of the gap, how many the gap hides, and those outside of it."""
    thread = next(thread for thread in crash["threads"] if thread["crashed"])
    assert thread["truncated"]
    at = next(n for n, frame in enumerate(thread["frames"]) if frame["kind"] == "gap")
    found = re.search(r"(\d+) script frames", thread["frames"][at]["note"])
    assert found is not None
    inner = shown({"threads": [{"crashed": True, "frames": thread["frames"][:at]}]})
    outer = shown({"threads": [{"crashed": True, "frames": thread["frames"][at:]}]})
    return without_oracle(inner), int(found[1]), outer


def _expected(made: Made) -> tuple[list[Call], list[Call]]:
    """`(one turn, what is outside of the recursion)`, both innermost first."""
    # The innermost frame stands on the recorder's line, not on that of the call that goes on.
    turning, outermost = list(made.frames[1:-1]), list(made.frames[-1:])
    length = next(n for n in range(1, len(turning) // 2) if turning[:-n] == turning[n:])
    return turning[-length:], outermost
