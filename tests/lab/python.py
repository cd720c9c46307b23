"""Python processes that crash for real, with what Python itself said of its stack just before."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.interpreters import Call, Program
from tests.lab.suites import CannotMake
from triage.demo.lab import Process, crash

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
SCRIPTS = FIXTURES / "python"
EXTENSION = FIXTURES / "ext" / "faulty_codec.c"
SYSTEM = Path("/usr/bin/python3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One crash. `code` is run with `-c` instead of a script."""

    name: str
    script: str = ""
    code: str | None = None
    arguments: tuple[str, ...] = ()
    thread: str = "MainThread"
    signal: str = "SIGSEGV"


CASES = (
    Case(name="main", script="main.py"),
    Case(name="command-line", code="from oracle import die; die()"),
    Case(name="deep-3", script="deep.py", arguments=("3",)),
    Case(name="deep-900", script="deep.py", arguments=("900",)),
    Case(name="methods", script="methods.py"),
    Case(name="callbacks", script="callbacks.py"),
    Case(name="generators", script="generators.py"),
    Case(name="coroutines", script="coroutines.py"),
    Case(name="threads", script="threads.py", thread="price worker"),
    Case(name="pool", script="pool.py", thread="resize_0"),
    Case(name="compiled", script="compiled.py"),
    Case(name="importing", script="importing.py"),
    Case(name="raising", script="raising.py"),
    Case(name="destructor", script="destructor.py"),
    Case(name="handlers", script="handlers.py"),
    Case(name="lines", script="lines.py"),
    Case(name="ctypes-null", script="ctypes_null.py"),
    Case(name="aborting", script="aborting.py", signal="SIGABRT"),
    Case(name="traced", script="traced.py"),
    Case(name="long", script="long.py"),
    Case(name="collector", script="collector.py"),
)


@dataclass(frozen=True, slots=True)
class Made:
    """A core, and what Python reported: its frames (innermost first), the thread's name, its version."""

    case: Case
    core: Path
    frames: tuple[Call, ...]
    thread: str
    version: str
    root: Path | None


def system_python() -> Program:
    """This machine's own Python, the one of its package, not the one that runs the tests.

    Raises:
        CannotMake: when there is none.
    """
    return program(SYSTEM.resolve())


def program(path: Path) -> Program:
    """The Python at `path`.

    Raises:
        CannotMake: when it does not run.
    """
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotMake(f"{path} does not run: {error}") from error
    major, minor = map(int, done.stdout.split())
    return Program(str(path), (major, minor))


def make(case: Case, python: Program, folder: Path, *arguments: str) -> Made:
    """Let Python crash as the case says; the core lands in `folder` as `NAME.core`.

    Raises:
        NoCrash: when no core could be had.
    """
    scripts, run = python.stage(SCRIPTS, folder)
    oracle = run / "oracle.json"
    what = ["-c", case.code] if case.code is not None else [python.inside(scripts / case.script)]
    environment = {
        "TRIAGE_ORACLE": python.inside(oracle),
        "PYTHONPATH": python.inside(scripts),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    place = run if python.root is None else python.root
    argv = python.command(*what, *case.arguments, *arguments)
    core = crash(Process(argv=argv, folder=place, env=environment), folder / f"{case.name}.core")
    told = json.loads(oracle.read_text())
    frames = tuple(Call(*entry) for entry in reversed(told["stack"]))
    return Made(case, core, frames, told["thread"], ".".join(map(str, told["version"])), python.root)


def shown(crash_json: dict[str, Any]) -> list[Call]:
    """The Python frames of a crash as `triage show --json` prints it, without those of the recorder and inside."""
    found = [
        Call(frame["function"], frame["file"], frame["line"])
        for frame in crashed(crash_json)["frames"]
        if frame["kind"] == "python"
    ]
    recorder = next(
        at for at, call in enumerate(found) if call.function == "die" and call.file.endswith("/oracle.py")
    )
    return found[recorder + 1 :]


def crashed(crash_json: dict[str, Any]) -> dict[str, Any]:
    """The thread that crashed."""
    found: dict[str, Any] = next(thread for thread in crash_json["threads"] if thread["crashed"])
    return found


def build_extension(folder: Path, python: Program, version: str, *flags: str) -> Path:
    """Compile the faulty extension for this machine's Python; its file lands in `folder`.

    Raises:
        CannotMake: without a compiler or without that Python's headers.
    """
    major, minor = python.version
    include = Path(f"/usr/include/python{major}.{minor}")
    if not (include / "Python.h").is_file():
        raise CannotMake(f"no headers of Python {major}.{minor}: apt install python3-dev")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "faulty_codec.so"
    argv = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-Wl,--build-id", f'-DCODEC_VERSION="{version}"', *flags]
    try:
        done = subprocess.run(
            [*argv, f"-I{include}", "-o", str(target), str(EXTENSION)], capture_output=True, timeout=120, check=False
        )
    except FileNotFoundError as error:
        raise CannotMake("gcc is not installed") from error
    if done.returncode:
        raise CannotMake(f"the extension does not compile: {done.stderr.decode(errors='replace')[-300:]}")
    return target
