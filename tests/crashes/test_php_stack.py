"""The PHP stack read from a core equals what debug_backtrace() said just before the crash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Maker, show
from tests.lab import fpm
from tests.lab.php import CASES, Call, Interpreter, Made, make, shown, without_oracle
from triage.demo import lab
from triage.demo.crashes import find_php
from triage.gdb.locate import find_gdb

pytestmark = [pytest.mark.php, pytest.mark.gdb]

FINITE = [case.name for case in CASES if not case.endless]
ENDLESS = [case.name for case in CASES if case.endless]


@pytest.mark.parametrize("name", [*FINITE, fpm.CASE.name])
def test_this_php(made: Maker, name: str) -> None:
    _holds(made(name))


@pytest.mark.suites
@pytest.mark.parametrize("name", FINITE)
def test_other_php(made_by_suite: Maker, name: str) -> None:
    _holds(made_by_suite(name))


@pytest.mark.parametrize("name", ENDLESS)
def test_recursion_of_this_php(made: Maker, name: str) -> None:
    _recursion_holds(made(name))


@pytest.mark.suites
@pytest.mark.parametrize("name", ENDLESS)
def test_recursion_of_other_php(made_by_suite: Maker, name: str) -> None:
    _recursion_holds(made_by_suite(name))


def test_a_core_written_by_gdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gcore leaves out every mapping that holds only a file's own bytes; the kernel announces them."""
    monkeypatch.setattr(lab, "find_core", lambda folder, pid, since: None)
    php = find_php()
    assert php is not None
    case = next(case for case in CASES if case.name == "callbacks")
    _holds(make(case, Interpreter(php.version), tmp_path, find_gdb()))


def test_the_request_is_shown_without_its_query(made: Maker) -> None:
    crash = show(made(fpm.CASE.name))
    assert crash["runtime"]["request"] == {"method": "GET", "uri": "/products/17"}
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
    assert [finding["rule"] for finding in crash["findings"]] == ["stack-overflow"]


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
