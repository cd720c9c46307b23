"""One GDB process that examines one core after another.

GDB is spoken to through MI, a command and its result at a time. pygdbmi's own controller waits
a fixed while after every answer; here each read ends at the result record that carries the
command's token. GDB ignores SIGTERM while it hangs, so it has its own process group and is
killed with SIGKILL when its time is up.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from triage import clock
from triage.config import Limits
from triage.corefile.modules import MappedModule
from triage.errors import EnvironmentLacks, TriageError
from triage.gdb import mi, sandbox
from triage.gdb.locate import Gdb
from triage.gdb.overlay import Overlay
from triage.gdb.packed import Damaged, pack, unpack
from triage.gdb.users import unprivileged
from triage.model import Unwinding

MARKER = "TRIAGE-ANSWER "
SETTINGS = (
    "set auto-load off",  # first: nothing that lies beside a binary may run
    "set source open off",  # debug information may name /etc/shadow as a source file
    "set debuginfod enabled off",
    "set confirm off",
    "set pagination off",
    "set width 0",
    "set height 0",
    "set print elements 200",
    "set print frame-arguments none",
    "set max-value-size 1048576",
    "set style enabled off",
    "maintenance set internal-error quit yes",
    "maintenance set internal-error corefile no",
)
_DEEP_WALK = 20_000
_DEEPEST = 1 << 40
_REFUSED = "GDB refused: "


class GdbFailed(TriageError):
    """GDB gave no answer for this core: it died, hung or refused."""


@dataclass(frozen=True, slots=True)
class Target:
    """What GDB is to open. `files` maps each path the process knew to the proven file on this disk.

    `debug_files` are what links below `debug_dirs` lead to; in its sandbox GDB must see both.
    `named` are all paths the core names, proven or not; without it only proven ones may be there.
    `needed` are the names of the libraries on the stacks; without it GDB reads all libraries.
    `modules` are those whose files are proven.
    """

    core: Path
    executable: Path | None
    files: Mapping[str, Path]
    debug_dirs: tuple[Path, ...] = ()
    debug_files: tuple[Path, ...] = ()
    named: frozenset[str] | None = None
    needed: tuple[str, ...] | None = None
    modules: tuple[MappedModule, ...] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """The core that stays open with all of its libraries, and the name under which GDB opened it."""

    link: str
    target: Target


class GdbSession:
    """A GDB kept running across cores; started at first use, started again after a death."""

    def __init__(self, gdb: Gdb, limits: Limits) -> None:
        self.gdb = gdb
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._overlay: Overlay | None = None
        self._scene: sandbox.Scene | None = None
        self._errors: IO[bytes] | None = None
        self._pending = b""
        self._token = 0
        self._served = 0
        self._told: dict[str, dict[str, object]] = {}
        self._view: tuple[object, object] | None = None
        self._seen: set[Path] = set()
        self._resolved: dict[Path, Path] = {}
        self._held: _Held | None = None
        self.starts = 0
        self.isolation: sandbox.Isolation | None = None
        """How the GDB that was started last is confined."""

    def __enter__(self) -> GdbSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def examine(
        self,
        target: Target,
        loop_register: str | None,
        unwinding: Unwinding | None = None,
        resume: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Open a core and return what `inside.py` answers to `triage-dump`.

        `unwinding` has rules for code without unwind tables; `resume` the level and the registers of
        the frame to go on with when the inner frames of the crashed thread have been seen.

        A GDB that dies or hangs is started afresh and asked once more, for less: the crashed
        thread's inner frames only. `reduced` in the answer tells.

        Raises:
            GdbFailed: when that fails too.
        """
        full = {
            "inner": self._limits.inner_frames,
            "outer": self._limits.outer_frames,
            "walk": self._limits.walk_frames,
            "others": self._limits.other_thread_frames,
            "threads": self._limits.threads,
            "loop_register": loop_register,
            "unwinding": asdict(unwinding) if unwinding is not None else None,
            "resume": resume,
        }
        if resume is not None:
            full["walk"] = _DEEPEST
        try:
            return self._examine(target, full)
        except GdbFailed as first:
            self.kill()
            less = {**full, "outer": 0, "walk": 64, "threads": 1, "resume": None}
            try:
                return {**self._examine(target, less), "reduced": first.message}
            except GdbFailed:
                self.kill()
                raise

    @property
    def held(self) -> tuple[MappedModule, ...]:
        """The proven modules of the core that GDB holds open with all of its libraries; none when it holds none."""
        if self._held is None or not self.running or self._served >= self._limits.gdb_recycle:
            return ()
        return self._held.target.modules

    def name(self, stacks: Sequence[Sequence[int]], at: int) -> dict[str, Any]:
        """What `inside.py` answers to `triage-name`: frames by addresses in the core held open, no core being opened.

        Each stack has its addresses, innermost first; `at` is where the crashed thread stands. `lost` tells that
        the core cannot be read any more; the next one that is opened is held then.

        Raises:
            GdbFailed: when GDB gives no answer; it is stopped then.
        """
        self._served += 1
        try:
            asked = {"stacks": stacks, "at": at, "held": self._held.link if self._held is not None else None}
            answer = self._ask("triage-name", asked, self._limits.gdb_seconds)
        except GdbFailed:
            self.kill()
            raise
        if "lost" in answer:
            self._held = None
        return answer

    def load(self, target: Target, unwinding: Unwinding | None = None) -> None:
        """Open a core for `console`, with rules for code without unwind tables.

        Raises:
            GdbFailed: when GDB cannot open it.
        """
        self._ask("triage-load", self._ready(target), self._limits.gdb_seconds)
        if unwinding is not None:
            self.console(f"python UNWINDER.use(unpack('{pack(asdict(unwinding))}'))")

    def console(self, line: str) -> str:
        """What GDB prints for one line typed at its prompt, on the core that `load` opened.

        Raises:
            GdbFailed: when GDB refuses the line; when it died or hangs it is stopped, and `load` begins anew.
        """
        quoted = json.dumps(line, ensure_ascii=False)  # MI's strings are C's, as JSON's are
        try:
            return self._command(f"-interpreter-exec console {quoted}", self._limits.gdb_seconds)
        except GdbFailed as error:
            if not error.message.startswith(_REFUSED):
                self.kill()
            raise

    @property
    def running(self) -> bool:
        """Whether GDB is there."""
        return self._process is not None and self._process.poll() is None

    def interrupt(self) -> None:
        """Ctrl-C for what GDB does now; may be called from another thread."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGINT)

    def _examine(self, target: Target, plan: Mapping[str, object]) -> dict[str, Any]:
        if self._served >= self._limits.gdb_recycle:
            self.close()
        prepared = self._ready(target)
        self._served += 1
        left = clock.deadline(self._limits.gdb_seconds)
        self._ask("triage-load", {**prepared, "plain_threads": True}, left())
        if prepared["needed"] is None and self._is_largest(target):
            self._held = _Held(str(prepared["core"]), target)
        answer = self._ask("triage-dump", plan, left())
        if plan["resume"] is None and any(thread["depth"] > _DEEP_WALK for thread in answer["threads"]):
            self._served = self._limits.gdb_recycle  # a deep walk leaves hundreds of MB behind in GDB
        return answer

    def _ready(self, target: Target) -> dict[str, object]:
        """A GDB that runs and can take this core, and what to tell it."""
        self._start(target)
        prepared = self._prepare(target)
        view = prepared["executable"], prepared["sysroot"]
        if self._view not in (None, view):  # one GDB can take cores of one executable and one root only
            self.close()
            self._start(target)
            prepared = self._prepare(target)
            view = prepared["executable"], prepared["sysroot"]
        self._view = view
        return prepared

    def _prepare(self, target: Target) -> dict[str, object]:
        """Links with plain names for everything GDB opens: its commands split paths at blanks."""
        if self._overlay is None or self._folder is None:
            raise GdbFailed("GDB is not running")
        # Resolved: in its sandbox GDB sees these files, and no links that lead to them.
        for file in target.files.values():
            if file not in self._resolved:
                self._resolved[file] = file.resolve()
        self._overlay.hold({path: self._resolved[file] for path, file in target.files.items()}, target.named)
        # One core is opened with all of its libraries, and held, so that GDB keeps what it read of them.
        needed = None if self._is_largest(target) else target.needed
        if needed is None:
            self._overlay.show_all()
        else:
            self._overlay.show(needed, [target.executable.resolve()] if target.executable is not None else [])
        core = self._fresh_link("core", target.core)
        executable = None
        if target.executable is not None:
            # Under one name for as long as it is the same file, so that GDB keeps what it read.
            stamp = target.executable.stat()
            executable = self._folder / f"program-{stamp.st_ino:x}-{stamp.st_mtime_ns:x}"
            if not executable.is_symlink():
                executable.symlink_to(target.executable.resolve())
        debug = ":".join(str(path) for path in target.debug_dirs if not set(str(path)) & set(": '\"\\\n"))
        return {
            "core": str(core),
            "executable": str(executable) if executable else None,
            "sysroot": str(self._overlay.root),
            "debug": debug,
            "held": self._held.link if self._held is not None else None,
            "needed": needed,
        }

    def _is_largest(self, target: Target) -> bool:
        """Whether the core has more libraries than the one that is held."""
        return self._held is None or len(target.files) > len(self._held.target.files)

    def _fresh_link(self, name: str, target: Path) -> Path:
        if self._folder is None:
            raise GdbFailed("GDB is not running")
        link = self._folder / f"{name}-{self._token}"
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
        return link

    def _start(self, target: Target) -> None:
        others = (*filter(None, [target.executable]), *target.files.values(), *target.debug_files)
        if self._takes(target.core, others):
            return
        files = [target.core, *others]
        program = Path(self.gdb.argv[0])
        try:
            held = sandbox.isolation(unprivileged(target.core, [*files[1:], program]))
        except EnvironmentLacks as error:
            raise GdbFailed(error.message) from error
        if self.running and self._fits(files, held):
            self._seen.update(others)
            return
        self.close()
        self._seen, self._resolved = set(others), {}
        self._folder = Path(tempfile.mkdtemp(prefix="triage-gdb-"))
        # GDB's user passes through, by exact names only; whatever GDB could write to, root could be led by.
        mode = 0o711 if held.user is not None else 0o700
        self._folder.chmod(mode)
        self._overlay = Overlay(self._folder, mode)
        needs = (*sandbox.surroundings(self.gdb.argv, self.gdb.env), *target.debug_dirs)
        self._scene = sandbox.scene(self._folder, target.core, files[1:], needs)
        self.isolation = held
        inside = self._folder / "inside.py"
        shutil.copyfile(Path(__file__).with_name("inside.py"), inside)
        inside.chmod(0o644)
        argv = [*self.gdb.argv, "-nx", "-nh", "-q", "--interpreter=mi3"]
        for setting in SETTINGS:
            argv += ["-iex", setting]
        self._process = self._spawn([*argv, "-x", str(inside)], self._folder, self._scene, held)
        self.starts += 1
        self._pending, self._served, self._told, self._held = b"", 0, {}, None
        try:
            self._command("-gdb-version", self._limits.gdb_seconds)
        except GdbFailed:
            self.kill()
            raise

    def _takes(self, core: Path, others: tuple[Path, ...]) -> bool:
        """Whether the running GDB has met all files but the core, and can see and read that one as it is."""
        seen, held = self._scene, self.isolation
        if not self.running or seen is None or held is None or not self._seen.issuperset(others):
            return False
        return seen.shows(core.resolve()) and unprivileged(core, ()) == held.user

    def _fits(self, files: Sequence[Path], held: sandbox.Isolation) -> bool:
        """Whether the running GDB, confined as it is, can see these files."""
        seen = self._scene
        return seen is not None and held == self.isolation and all(seen.shows(path.resolve()) for path in files)

    def _spawn(
        self, argv: list[str], folder: Path, seen: sandbox.Scene, held: sandbox.Isolation
    ) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "HOME": str(folder),
            **self.gdb.env,
        }
        bounds = sandbox.Bounds(memory=self._limits.gdb_memory, cpu=self._limits.gdb_cpu)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 — without a name, so that GDB cannot swap it
        try:
            return subprocess.Popen(
                sandbox.launch(argv, environment, seen, held, bounds),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise GdbFailed(f"GDB could not be started: {error}") from error

    def _ask(self, command: str, argument: Mapping[str, object], seconds: float) -> dict[str, Any]:
        """Run one of our commands inside GDB and return its JSON answer.

        What the command was told before it remembers: GDB reads its input one byte at a time.
        """
        told = self._told.setdefault(command, {})
        news = {name: value for name, value in argument.items() if name not in told or told[name] != value}
        told.update(news)
        printed = self._command(f'-interpreter-exec console "{command} {pack(news)}"', seconds)
        for line in printed.splitlines():
            if line.startswith(MARKER):
                answer = _unpacked(line[len(MARKER) :])
                if "error" in answer:
                    raise GdbFailed(f"GDB could not read this core: {self._plainly(answer['error'])}")
                return answer
        raise GdbFailed(f"GDB gave no answer to {command}")

    def _plainly(self, error: str) -> str:
        """GDB's words, the core called `it`: the name it was given for it is another one in each run."""
        return re.sub(rf'"?{re.escape(str(self._folder))}/core-\d+"?', "it", error)

    def _command(self, command: str, seconds: float) -> str:
        """Send one MI command; return what it printed on the console up to its result record."""
        process = self._process
        if process is None or process.stdin is None:
            raise GdbFailed("GDB is not running")
        self._token += 1
        left = clock.deadline(seconds)
        try:
            process.stdin.write(f"{self._token}{command}\n".encode())
            process.stdin.flush()
        except OSError as error:
            raise GdbFailed(self._obituary()) from error
        printed: list[str] = []
        while True:
            if not left():  # also when it never stops talking
                raise GdbFailed(self._late())
            record = self._record(left())
            if record is None:
                continue
            if record.type == "console" and isinstance(record.payload, str):
                printed.append(record.payload)
            elif record.type == "result" and record.token == self._token:
                if record.message == "error":
                    raise GdbFailed(f"{_REFUSED}{_reason(record.payload)}")
                return "".join(printed)

    def _record(self, seconds: float) -> mi.Record | None:
        """The next record; `None` for news nobody asked for: every library of a core makes one."""
        raw = self._line(seconds)
        if raw[:1] in b"=*+&":
            return None
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        try:
            return mi.parse(line)
        except mi.BrokenRecord as error:
            raise GdbFailed(str(error)) from error

    def _line(self, seconds: float) -> bytes:
        """The next line GDB prints, however it is cut into reads."""
        line, found, rest = self._pending.partition(b"\n")
        if found:
            self._pending = rest
            return line
        left = clock.deadline(seconds)
        pieces = [self._pending]
        size = len(self._pending)
        with selectors.DefaultSelector() as selector:
            stream = self._process.stdout if self._process else None
            if stream is None:
                raise GdbFailed("GDB is not running")
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in pieces[-1]:
                if not selector.select(left()):
                    raise GdbFailed(self._late())
                piece = os.read(stream.fileno(), 1 << 20)
                if not piece:
                    raise GdbFailed(self._obituary())
                pieces.append(piece)
                size += len(piece)
                if size > mi.MAX_LINE:
                    raise GdbFailed("GDB flooded its output")
        line, _, self._pending = b"".join(pieces).partition(b"\n")
        return line

    def _late(self) -> str:
        return f"GDB gave no answer within {self._limits.gdb_seconds:.0f} s and was stopped"

    def _obituary(self) -> str:
        """How GDB ended, with the last thing it said on stderr."""
        status = None
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                status = self._process.wait(timeout=2)
        if status is not None and 128 < status <= 128 + signal.SIGRTMAX:
            status = 128 - status  # bubblewrap's word for a signal
        how = f"with signal {-status}" if status is not None and status < 0 else f"with status {status}"
        said = ""
        if self._errors is not None:
            self._errors.seek(0)
            said = self._errors.read(65536).decode("utf-8", "backslashreplace").strip()[-300:]
        return f"GDB ended {how}" + (f": {said}" if said else "")

    def kill(self) -> None:
        """End GDB at once, with everything in its process group, and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        errors, self._errors = self._errors, None
        if errors is not None:
            errors.close()
        folder, self._folder, self._overlay, self._view = self._folder, None, None, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Ask GDB to leave, and see to it that it does."""
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError, subprocess.TimeoutExpired):
                process.stdin.write(b"-gdb-exit\n")
                process.stdin.flush()
                process.wait(timeout=2)
        self.kill()


def _reason(payload: object) -> str:
    return str(payload.get("msg", payload)) if isinstance(payload, dict) else str(payload)


def _unpacked(text: str) -> dict[str, Any]:
    try:
        return unpack(text)
    except Damaged as error:
        raise GdbFailed("GDB's answer was cut off or damaged") from error
