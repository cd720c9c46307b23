"""The native frames equal those of plain `gdb -batch -ex bt` on the same core."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import Maker, show
from tests.lab import fpm
from tests.lab.native import PlainFrame, backtrace, c_crash, python_crash
from tests.lab.php import Case, Made

pytestmark = pytest.mark.gdb

PHP = ["ffi-write", "kill-main", "kill-40", "kill-900", "callbacks", "abort", "generator", "include", "eval",
       "autoload", "opcache", fpm.CASE.name]  # fmt: skip
_INNER = 200


@pytest.mark.php
@pytest.mark.parametrize("name", PHP)
def test_php(made: Maker, name: str) -> None:
    crash = show(made(name))
    plain = backtrace(made(name).core, crash["executable"])
    assert len(plain) > 4
    _same(_natives(crash), plain)


@pytest.mark.php
@pytest.mark.parametrize("name", ["overflow-array-map", "overflow-methods"])
def test_the_inner_part_of_an_endless_recursion(made: Maker, name: str) -> None:
    crash = show(made(name))
    plain = backtrace(made(name).core, crash["executable"], _INNER)
    assert len(plain) == _INNER
    _same(_natives(crash)[:_INNER], plain)


@pytest.mark.php
@pytest.mark.parametrize("name", ["jit-function", "jit-callbacks"])
def test_up_to_the_code_made_by_the_jit(made: Maker, name: str) -> None:
    """GDB has no unwind tables for JIT code: up to it we agree, beyond it goes on where GDB is lost."""
    crash = show(made(name))
    found = _natives(crash)
    first = next(at for at, frame in enumerate(found) if frame["note"] == "jit")
    inner = [{**frame, "function": None} if frame["note"] == "jit" else frame for frame in found[: first + 1]]
    _same(inner, backtrace(made(name).core, crash["executable"])[: first + 1])
    assert found[-1]["function"] == "_start"
    assert crash["warnings"] == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("flags", [("-O0", "-g"), ("-O2", "-g"), ("-O2",), ("-O2", "-s")], ids=" ".join)
@pytest.mark.parametrize("program", ["threads", "handler"])
def test_c_programs(tmp_path: Path, program: str, flags: tuple[str, ...]) -> None:
    core = c_crash(program, tmp_path, *flags)
    crash = show(_plain(core))
    assert crash["runtime"] is None
    _same(_natives(crash), backtrace(core, crash["executable"]))
    assert len(crash["threads"]) == (4 if program == "threads" else 1)
    if "-s" not in flags:
        assert {"threads": "fill", "handler": "measure"}[program] in {
            frame["function"].split(".")[0] for frame in _natives(crash) if frame["function"]
        }  # GCC calls its own copies fill.constprop.0


def test_python(tmp_path: Path) -> None:
    core = python_crash(tmp_path)
    crash = show(_plain(core))
    _same(_natives(crash), backtrace(core, crash["executable"]))


def _plain(core: Path) -> Made:
    return Made(Case(name=core.stem, script=""), core, ())


def _natives(crash: dict[str, Any]) -> list[dict[str, Any]]:
    thread = next(thread for thread in crash["threads"] if thread["crashed"])
    return [frame for frame in thread["frames"] if frame["kind"] == "native"]


def _same(found: list[dict[str, Any]], plain: list[PlainFrame]) -> None:
    assert [_shape(frame, beside) for frame, beside in zip(found, plain, strict=True)] == [
        (frame.name, frame.address) for frame in plain
    ]


def _shape(frame: dict[str, Any], beside: PlainFrame) -> tuple[str | None, int | None]:
    """Our frame as `bt` would print it: a name that only we know is `??` there."""
    ours = frame["function"]
    if frame["note"] == "signal handler":
        return "<signal handler called>", None
    only_ours = ours is None or ours.startswith("sub_") or (frame["note"] or "").startswith("named by")
    address = int(frame["address"], 16) if isinstance(frame["address"], str) else frame["address"]
    return (None if only_ours else ours), (address if beside.address is not None else None)
