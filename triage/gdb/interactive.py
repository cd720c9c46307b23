"""GDB in the user's terminal, on one core: proven files only, and commands that triage answers.

The commands travel as lines of JSON over a socket that GDB inherits: `{"command", "words"}` there,
`{"lines"}` back.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triage.errors import EnvironmentLacks
from triage.gdb import sandbox
from triage.gdb.locate import Gdb
from triage.gdb.overlay import Overlay
from triage.gdb.session import SETTINGS, Target
from triage.gdb.users import unprivileged
from triage.model import Unwinding

Ask = Callable[[str, Sequence[str]], list[str]]
_LONGEST = 1 << 20
_HERE = Path(__file__).parent
_UNSAFE = set(": '\"\\\n")
_MEMORY = 8 << 30
_KEPT = ("PATH", "TERM", "COLORTERM", "NO_COLOR", "LANG", "COLUMNS", "LINES")


@dataclass(frozen=True, slots=True)
class Console:
    """The commands to offer (name → usage and summary), and who answers them."""

    commands: Mapping[str, tuple[str, str]]
    ask: Ask
    unwinding: Unwinding | None = None


def run_gdb(
    gdb: Gdb,
    target: Target,
    console: Console,
    commands: Sequence[str] = (),
    sources: Sequence[Path] = (),
    *,
    confined: bool = True,
) -> int:
    """Run GDB until the user leaves it; with `commands`, run these and leave. Returns GDB's exit status.

    Confined, it sees the core, the proven files and `sources` (folders), and writes nothing.

    Raises:
        EnvironmentLacks: when GDB cannot be started.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="triage-debug-") as place, ours, theirs:
        folder = Path(place)
        held = _isolation(gdb, target) if confined else None
        mode = 0o711 if held is not None and held.user is not None else 0o700
        folder.chmod(mode)
        shown = held is None or held.level is not sandbox.Level.LIMITS  # elsewhere any file could be shown
        argv = _command_line(gdb, target, folder, commands, sources if shown else (), mode)
        environment = {**gdb.env, "TRIAGE_BRIDGE": str(theirs.fileno())}
        if held is None:
            environment = {**os.environ, **environment}
        else:
            argv = _confined(argv, environment, folder, gdb, target, held, sources)
        server = threading.Thread(target=_serve, args=(ours, console), daemon=True)
        server.start()
        # Ctrl-C is for GDB: it interrupts what GDB does, and must end neither us nor bubblewrap round it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = subprocess.Popen(
                argv, env=environment if held is None else None, pass_fds=(theirs.fileno(),),
                preexec_fn=_take_interrupts if held is None else None,
                stdin=None if not commands else subprocess.DEVNULL,
            )  # fmt: skip
            theirs.close()
            return process.wait()
        except OSError as error:
            raise EnvironmentLacks(f"GDB could not be started: {error.strerror}") from error
        finally:
            signal.signal(signal.SIGINT, before)


def _take_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _isolation(gdb: Gdb, target: Target) -> sandbox.Isolation:
    files = [*filter(None, [target.executable]), *target.files.values(), Path(gdb.argv[0])]
    return sandbox.isolation(unprivileged(target.core, files))


def _confined(
    argv: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    gdb: Gdb,
    target: Target,
    held: sandbox.Isolation,
    sources: Sequence[Path],
) -> list[str]:
    """The same command line in the sandbox. Here GDB may start programs: the shell, a pager."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    files = [*filter(None, [target.executable]), *target.files.values(), *target.debug_files]
    needs = (*sandbox.surroundings(gdb.argv, gdb.env), *target.debug_dirs, *sources)
    seen = sandbox.scene(folder, target.core, files, needs)
    bounds = sandbox.Bounds(memory=_MEMORY, cpu=None, forks=True)
    return sandbox.launch(argv, {**kept, "HOME": str(folder), **environment}, seen, held, bounds)


def _command_line(
    gdb: Gdb, target: Target, place: Path, commands: Sequence[str], sources: Sequence[Path], mode: int
) -> list[str]:
    overlay = Overlay(place, mode)
    overlay.hold({path: file.resolve() for path, file in target.files.items()})
    debug = ":".join(str(path) for path in target.debug_dirs if not set(str(path)) & _UNSAFE)
    settings = [
        *SETTINGS, "set pagination on", f"set sysroot {overlay.root}", f"set debug-file-directory {debug}",
        *_sources(sources),
        "set print frame-arguments scalars", "set height unlimited" if commands else "set confirm on",
    ]  # fmt: skip
    argv = [*gdb.argv, "-nx", "-nh", "-q", *(("-batch",) if commands else ())]
    for setting in settings:
        argv += ["-iex", setting]
    if target.executable is not None:
        program = place / "program"
        program.symlink_to(target.executable.resolve())
        argv += ["-ex", f"file {program}"]
    core = place / "core"
    core.symlink_to(target.core.resolve())
    for name in ("inside.py", "console.py"):
        shutil.copyfile(_HERE / name, place / name)
        (place / name).chmod(0o644)
        argv += ["-x", str(place / name)]
    argv += ["-ex", f"triage-core {core}"]
    for command in commands:
        argv += ["-ex", command]
    return argv


def _sources(folders: Sequence[Path]) -> tuple[str, ...]:
    """Source files are opened where somebody named the folders they may lie in, and looked for there."""
    usable = [str(path.resolve()) for path in folders if not set(str(path.resolve())) & (_UNSAFE | {"$"})]
    return ("set source open on", *(f"directory {path}" for path in usable)) if usable else ()


def _serve(line: socket.socket, console: Console) -> None:
    """Answer until GDB hangs up; whatever ends this, GDB learns of it and does not wait for ever."""
    with suppress(OSError), line.makefile("rwb") as stream:  # GDB has gone: there is nobody to answer
        try:
            while request := stream.readline(_LONGEST):
                stream.write(json.dumps(_answered(request, console)).encode("ascii") + b"\n")
                stream.flush()
        finally:
            line.shutdown(socket.SHUT_RDWR)


def _answered(request: bytes, console: Console) -> dict[str, object]:
    """The broad net that keeps a defect in one answer from ending the session."""
    try:
        return _answer(json.loads(request), console)
    except Exception as error:  # noqa: BLE001 — see above; it is loud: a line and the traceback
        traceback.print_exc(file=sys.stderr)
        return {"lines": [f"no answer: {type(error).__name__}. This is a defect in triage."]}


def _answer(request: Mapping[str, Any], console: Console) -> dict[str, object]:
    if "hello" in request:
        return {
            "commands": [
                {"name": name, "usage": usage, "summary": summary}
                for name, (usage, summary) in console.commands.items()
            ],
            "unwinding": asdict(console.unwinding) if console.unwinding is not None else None,
        }
    return {"lines": console.ask(str(request.get("command")), [str(word) for word in request.get("words", ())])}
