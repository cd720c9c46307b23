"""GDB in the user's terminal, on one core: proven files only, and commands that triage answers.

The commands travel as lines of JSON over a socket that GDB inherits: `{"command", "words"}` there,
`{"lines"}` back.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triage.errors import EnvironmentLacks
from triage.gdb.locate import Gdb
from triage.gdb.overlay import Overlay
from triage.gdb.session import SETTINGS, Target
from triage.model import Unwinding

Ask = Callable[[str, Sequence[str]], list[str]]
_LONGEST = 1 << 20
_HERE = Path(__file__).parent
_UNSAFE = set(": '\"\\\n")


@dataclass(frozen=True, slots=True)
class Console:
    """The commands to offer (name → usage and summary), and who answers them."""

    commands: Mapping[str, tuple[str, str]]
    ask: Ask
    unwinding: Unwinding | None = None


def run_gdb(gdb: Gdb, target: Target, console: Console, commands: Sequence[str] = ()) -> int:
    """Run GDB until the user leaves it; with `commands`, run these and leave. Returns GDB's exit status.

    Raises:
        EnvironmentLacks: when GDB cannot be started.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="triage-debug-") as place, ours, theirs:
        argv = _command_line(gdb, target, Path(place), commands)
        environment = {**os.environ, **gdb.env, "TRIAGE_BRIDGE": str(theirs.fileno())}
        server = threading.Thread(target=_serve, args=(ours, console), daemon=True)
        server.start()
        # Ctrl-C is for GDB: it interrupts what GDB does and must not end us.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = subprocess.Popen(
                argv, env=environment, pass_fds=(theirs.fileno(),), preexec_fn=_take_interrupts,
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


def _command_line(gdb: Gdb, target: Target, place: Path, commands: Sequence[str]) -> list[str]:
    overlay = Overlay(place)
    overlay.hold(target.files)
    debug = ":".join(str(path) for path in target.debug_dirs if not set(str(path)) & _UNSAFE)
    settings = [
        *SETTINGS, "set pagination on", f"set sysroot {overlay.root}", f"set debug-file-directory {debug}",
        "set print frame-arguments scalars", "set height unlimited" if commands else "set confirm on",
    ]  # fmt: skip
    argv = [*gdb.argv, "-nx", "-nh", "-q", *(("-batch",) if commands else ())]
    for setting in settings:
        argv += ["-iex", setting]
    if target.executable is not None:
        program = place / "program"
        program.symlink_to(target.executable.absolute())
        argv += ["-ex", f"file {program}"]
    core = place / "core"
    core.symlink_to(target.core.absolute())
    argv += ["-x", str(_HERE / "inside.py"), "-x", str(_HERE / "console.py"), "-ex", f"triage-core {core}"]
    for command in commands:
        argv += ["-ex", command]
    return argv


def _serve(line: socket.socket, console: Console) -> None:
    """Answer until GDB hangs up."""
    with line.makefile("rwb") as stream:
        while True:
            try:
                request = stream.readline(_LONGEST)
                if not request:
                    return
                answer = _answer(json.loads(request), console)
                stream.write(json.dumps(answer).encode("ascii") + b"\n")
                stream.flush()
            except (OSError, ValueError):
                return  # GDB has gone, or speaks something else: there is nobody to answer


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
