"""PHP processes that crash for real, with what PHP itself said of its stack just before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.places import place
from triage.demo.lab import Process, crash
from triage.gdb.locate import Gdb

FIXTURES = Path(__file__).parent.parent.parent / "fixtures" / "php"
_KIB = 1024
_FFI = ("-d", "ffi.enable=1")
_ENDLESS = ("-d", "zend.max_allowed_stack_size=-1")
_CACHE = (
    *("-d", "opcache.enable_cli=1", "-d", "opcache.memory_consumption=16", "-d", "opcache.interned_strings_buffer=2"),
    *("-d", "opcache.file_update_protection=0"),
)
_JIT = (*_CACHE, "-d", "opcache.jit_buffer_size=16M", "-d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One crash. `culprit` is the built-in function that dies, as (class, function).

    `code` is run with `php -r` instead of a script.
    """

    name: str
    script: str
    culprit: tuple[str | None, str] | None = (None, "posix_kill")
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    stack: int | None = None
    endless: bool = False
    oldest: tuple[int, int] = (7, 4)
    signal: str = "SIGSEGV"
    code: str | None = None


CASES = (
    Case(name="ffi-write", script="ffi_write.php", culprit=("FFI", "memset"), options=_FFI),
    Case(name="kill-main", script="kill_main.php"),
    Case(name="command-line", script="oracle.php", code="oracle() && posix_kill(posix_getpid(), 11);"),
    Case(name="kill-1", script="kill_deep.php", arguments=("1",)),
    Case(name="kill-40", script="kill_deep.php", arguments=("40",)),
    Case(name="kill-900", script="kill_deep.php", arguments=("900",)),
    Case(name="callbacks", script="callbacks.php"),
    Case(name="abort", script="abort.php", culprit=("FFI", "abort"), options=_FFI, signal="SIGABRT"),
    Case(name="generator", script="generator.php"),
    Case(name="fiber", script="fiber.php", oldest=(8, 1)),
    Case(name="fiber-generator", script="fiber_generator.php", oldest=(8, 1)),
    Case(name="fiber-above", script="fiber_above.php", oldest=(8, 1)),
    Case(name="include", script="include.php"),
    Case(name="eval", script="eval.php"),
    Case(name="autoload", script="autoload.php"),
    Case(name="opcache", script="callbacks.php", options=_CACHE),
    Case(name="opcache-generator", script="generator.php", options=_CACHE),
    Case(name="jit-function", script="hot.php", options=(*_JIT, "opcache.jit=1205"), oldest=(8, 0)),
    Case(name="jit-tracing", script="hot.php", options=(*_JIT, "opcache.jit=tracing"), oldest=(8, 0)),
    Case(name="jit-callbacks", script="callbacks.php", options=(*_JIT, "opcache.jit=1205"), oldest=(8, 0)),
    Case(name="magic", script="magic.php"),
    Case(name="output", script="output.php"),
    Case(name="fibers", script="fibers.php", oldest=(8, 1)),
    Case(name="constant", script="constant.php", oldest=(8, 3)),
    Case(name="overflow-array-map", script="overflow_map.php", culprit=None, options=_ENDLESS,
         stack=1024 * _KIB, endless=True),
    Case(name="overflow-methods", script="overflow_methods.php", culprit=None, options=_ENDLESS,
         stack=1024 * _KIB, endless=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One frame of PHP's own stack, as PHP tells it."""

    function: str
    class_name: str | None
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Passed:
    """How one function was called, as PHP tells it: `->`, `::` or neither, and its arguments' types."""

    function: str
    call: str | None
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A core, and the frames PHP reported (innermost first).

    `passed` is what PHP reported of each call that it gives arguments for. `calls` is the number of
    turns an endless recursion had made, `sysroot` the root folder the process lived in, if not this
    machine's.
    """

    case: Case
    core: Path
    frames: tuple[Call, ...]
    calls: int | None = None
    sysroot: Path | None = None
    passed: tuple[Passed, ...] = ()


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A `php` and the root folder it lives in (`None`: this machine)."""

    version: tuple[int, int]
    root: Path | None = None


def make(case: Case, php: Interpreter, folder: Path, gdb: Gdb | None = None) -> Made:
    """Let PHP crash as the case says; the core lands in `folder` as `NAME.core`.

    With `gdb`, that writes the core where the kernel left none.

    Raises:
        NoCrash: when no core could be had.
    """
    scripts, run, inside = _stage(php, folder)
    oracle = run / "oracle.json"
    script = f"{inside(scripts)}/{case.script}"
    what = [script] if case.code is None else ["-r", f"require '{script}'; {case.code}"]
    argv = ["php", *case.options, *what, *case.arguments]
    if php.root is not None:
        argv = ["chroot", str(php.root), "/usr/bin/env", "-C", inside(run), *argv]
    process = Process(argv=tuple(argv), folder=run, env={"TRIAGE_ORACLE": inside(oracle)}, stack=case.stack)
    core = crash(process, folder / f"{case.name}.core", gdb)
    made = Made(case, core, tuple(said(oracle, case)), _count(oracle), php.root, tuple(passed(oracle)))
    shutil.rmtree(run)
    return made


def _stage(php: Interpreter, folder: Path) -> tuple[Path, Path, Any]:
    """`(scripts, working folder, name inside the root)`; both folders where the process can see them."""
    if php.root is None:
        run = folder / "run"
        run.mkdir()
        return FIXTURES, run, str
    root = php.root
    own = place(root)
    scripts, run = own / "fixtures", own / "run"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(FIXTURES, scripts)
    run.mkdir()
    return scripts, run, lambda path: "/" + str(path.relative_to(root))


def said(oracle: Path, case: Case) -> Iterator[Call]:
    """The frames of a recorded debug_backtrace(), in the form a stack has.

    A trace tells of each call where it was made from; a stack tells of each function where it
    stands. So the place of entry N belongs to the function of entry N+1.
    """
    if case.culprit is not None:
        yield Call(case.culprit[1], case.culprit[0], None, None)
    trace = _calls(oracle)
    for entry, caller in zip(trace, [*trace[1:], {"function": "{main}"}], strict=True):
        if "file" in entry:
            yield Call(caller["function"], caller.get("class"), entry["file"], entry["line"])
        elif caller["function"] != "{main}":
            yield Call(caller["function"], caller.get("class"), None, None)


_FILE_CODE = {"include", "include_once", "require", "require_once", "eval", "{main}"}


def passed(oracle: Path) -> Iterator[Passed]:
    """The calls of a recorded debug_backtrace(), without the recorder's own."""
    for entry in _calls(oracle)[1:]:
        if entry["function"] not in _FILE_CODE:
            yield Passed(entry["function"], entry.get("type"), tuple(entry.get("args", ())))


def shown_calls(crash_json: dict[str, Any], culprit: str | None) -> list[Passed]:
    """The same from a crash; a reference is what it refers to, an unset variable is null."""
    crashed = next(thread for thread in crash_json["threads"] if thread["crashed"])
    found = [frame for frame in crashed["frames"] if frame["kind"] == "php" and frame["function"] not in _FILE_CODE]
    return [
        Passed(
            frame["function"],
            frame["call"],
            tuple("null" if a["type"] == "unset" else a["type"].removeprefix("&") for a in frame["arguments"]),
        )
        for frame in found[1 if culprit else 0 :]
    ]


CONSTANT = "[constant expression]"


def _calls(oracle: Path) -> list[dict[str, Any]]:
    """The recorded trace. The constant being worked out is left out: PHP names it first, wherever it belongs."""
    trace: list[dict[str, Any]] = json.loads(oracle.read_text())["trace"]
    return [entry for entry in trace if entry["function"] != CONSTANT]


def _count(oracle: Path) -> int | None:
    file = oracle.with_name(oracle.name + ".count")
    return int(file.read_text()) if file.exists() else None


def shown(crash_json: dict[str, Any]) -> list[Call]:
    """The PHP frames of a crash as `triage show --json` prints it."""
    crashed = next(thread for thread in crash_json["threads"] if thread["crashed"])
    return [
        Call(frame["function"], frame["class"], frame["file"], frame["line"])
        for frame in crashed["frames"]
        if frame["kind"] == "php"
    ]


def without_oracle(frames: Sequence[Call]) -> list[Call]:
    """The frames without the recorder's own, for crashes that may happen inside of it."""
    at = 0
    for number, frame in enumerate(frames):
        if frame.file is not None and frame.file.endswith("/oracle.php"):
            at = number + 1
    return list(frames[at:])
