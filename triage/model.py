"""The records that flow through the program. Plain data: no I/O, no behaviour beyond looks.

Addresses are integers in here and become hex text only at the edge (`wire.py`, the views).
Missing is `None`; a record that lacks something says why in `Crash.warnings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Confidence(StrEnum):
    """How sure a statement is."""

    PROVED = "proved"
    LIKELY = "likely"
    GUESS = "guess"


class Status(StrEnum):
    """How much of a core could be read."""

    OK = "ok"
    PARTIAL = "partial"
    ERROR = "error"


class Symbols(StrEnum):
    """What names a module's file offers, and whether the file is the one that crashed."""

    FULL = "full"
    DYNAMIC = "dynamic"
    NONE = "none"
    MISSING = "missing"
    MISMATCH = "mismatch"


class State(StrEnum):
    """What a person decided about a cluster."""

    NEW = "new"
    KNOWN = "known"
    IGNORED = "ignored"
    FIXED = "fixed"


class Role(StrEnum):
    """What kind of activation an interpreter frame is."""

    USER = "user"
    INTERNAL = "internal"
    INCLUDE = "include"
    EVAL = "eval"
    MAIN = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Why the kernel stopped the process.

    `address` is the faulting address for SIGSEGV, SIGBUS, SIGILL, SIGFPE; `sender` the
    process id that sent the signal when a process did (`si_code` SI_USER, SI_TKILL, …).
    """

    number: int
    name: str
    code: int | None = None
    code_name: str | None = None
    address: int | None = None
    sender: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A file mapped into the process. `start`/`end` are absolute, `end` exclusive."""

    path: str
    build_id: str | None
    start: int
    end: int
    symbols: Symbols
    base: int = 0
    """What to subtract from an address to get the ELF virtual address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeFrame:
    """One frame as the native unwinder saw it, before merging.

    `function_start` is the absolute start of the code that covers `pc` (from a symbol or an
    FDE); `vm_register` the value of the register in which the interpreter keeps its own
    frame pointer (PHP on x86-64: r14), `None` where it could not be recovered. `trust` tells how
    the frame was found: `context` (the processor's own registers, or those saved by a switch of
    fibers), `cfi` (unwind tables), `frame-pointer` (the interpreter's own frame layout, checked),
    `scan` (guessed from the code or the stack).
    """

    level: int
    pc: int
    sp: int | None = None
    function: str | None = None
    module: str | None = None
    offset: int | None = None
    function_start: int | None = None
    file: str | None = None
    line: int | None = None
    inlined: bool = False
    signal_handler: bool = False
    vm_register: int | None = None
    note: str | None = None
    trust: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FiberSwitch:
    """One fiber's native stack (`low` to `high`) and the registers of the stack it was resumed from."""

    low: int
    high: int
    registers: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwinding:
    """How to unwind where there are no tables.

    `code` are ranges of generated code, which runs on the frame of the interpreter's loop: `rules`
    say where that frame ends (register, distance in bytes), `saved` where the loop saved its
    caller's registers (distance from there), `callers` in which ranges a return address is
    believed. At `fiber_entry` a fiber's stack ends; `switches` lead on from it.
    """

    code: tuple[tuple[int, int], ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    saved: Mapping[str, int] = field(default_factory=dict)
    callers: tuple[tuple[int, int], ...] = ()
    fiber_entry: tuple[int, int] | None = None
    switches: tuple[FiberSwitch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeThread:
    """One thread as the native unwinder saw it.

    `frames` innermost first; where `gap` is not None, that many frames are missing before
    `frames[gap_at]`. `stop` says why the unwinder gave up, `None` when it reached the start.
    """

    id: int
    name: str | None
    crashed: bool
    frames: tuple[NativeFrame, ...]
    depth: int
    gap: int = 0
    gap_at: int = 0
    stop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a script's call: its declared name, its type (`string(17)`, `Shop\\Cart`).

    `value` is there only when values were asked for, shortened and with secrets hidden.
    """

    name: str | None
    type: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptFrame:
    """One frame of the interpreter's own stack, before merging.

    `address` is where the interpreter keeps the frame. `ends_activation` marks the outermost
    frame that one native interpreter loop runs. `handler` is the native function behind an
    internal (built-in) function. `call` is how a method was called: `->` on an instance, `::`
    statically. `opcode` is the interpreter's instruction the frame stands on.
    """

    kind: str
    role: Role
    address: int
    function: str | None
    class_name: str | None = None
    file: str | None = None
    line: int | None = None
    ends_activation: bool = False
    handler: int | None = None
    jit: bool = False
    note: str | None = None
    call: str | None = None
    opcode: str | None = None
    arguments: tuple[Argument, ...] = ()

    def shown(self) -> Frame:
        """The frame as it stands in a stack."""
        return Frame(
            kind=self.kind,
            function=self.function,
            class_name=self.class_name,
            file=self.file,
            line=self.line,
            note=self.note,
            call=self.call,
            opcode=self.opcode,
            arguments=self.arguments,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of the merged stack, innermost first.

    `kind` is `native` or the interpreter's name; `offset` is the address within the module
    (ELF virtual address).
    """

    kind: str
    function: str | None = None
    class_name: str | None = None
    module: str | None = None
    offset: int | None = None
    file: str | None = None
    line: int | None = None
    address: int | None = None
    inlined: bool = False
    note: str | None = None
    call: str | None = None
    opcode: str | None = None
    arguments: tuple[Argument, ...] = ()
    trust: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """One thread. `depth` is its true number of frames, `truncated` tells some are not in `frames`."""

    id: int
    name: str | None
    crashed: bool
    depth: int
    truncated: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The HTTP request being served. The query string is left out: it may hold secrets.

    `variables` has the names of what the request brought (`_GET[id]`), with types and lengths.
    """

    method: str | None
    uri: str | None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """The interpreter's own memory accounting, in bytes; `limit` is `None` for unlimited or unknown."""

    used: int | None
    peak: int | None
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeapFault:
    """One place where the interpreter's heap contradicts itself.

    `what` is the contradiction: `free-list`, `page-map`, `chunk`, `huge-list`, `accounting`,
    `string`, `object`, `gc-buffer`. `verdict` is the kind of misuse that fits: `overflow`,
    `use-after-free`, `double-free`, or `None` when the bytes do not tell. `slot` is the address
    of the broken block, `bin` its size class in bytes. `evidence` are sentences for people, the
    most telling one first; no contents of strings are in them unless they were redacted.
    """

    what: str
    verdict: str | None
    confidence: Confidence
    slot: int | None
    bin: int | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeapCheck:
    """What a walk through the interpreter's heap found. `reason` says why `state` is `unknown`.

    `state` is `intact`, `damaged` or `unknown`; `chunks` 2 MiB pieces and `blocks` live small
    blocks were walked; `bytes` is what the walk counted as in use.
    """

    state: str
    reason: str | None = None
    chunks: int = 0
    blocks: int = 0
    bytes: int = 0
    faults: tuple[HeapFault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """The last error or exception the interpreter recorded."""

    type: str | None
    message: str | None
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker of a process manager (php-fpm), by its own record. Whatever did not verify is `None`.

    `requests` counts those it took, the one it died in included where it had begun; `stage` is what
    it was doing.
    """

    pool: str
    started: datetime | None = None
    requests: int | None = None
    stage: str | None = None
    request_started: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fiber:
    """A fiber of the script and its own stack, innermost frame first.

    `status` is `running`, `suspended`, `waiting` (for a fiber it resumed), `init` or `dead`.
    A waiting or running fiber's frames are part of the crashed thread's stack as well.
    """

    id: int
    status: str
    depth: int
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A place where another module took over part of the interpreter: which, and by what code.

    `function` is the module's function where a name is known; `extension` the extension whose
    file holds it.
    """

    name: str
    module: str
    extension: str | None
    function: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opcache:
    """The code cache's own counters. Times as the process saw them; sizes in bytes.

    `shared` is its shared memory; `dumped` tells whether the core has that memory.
    """

    shared: int
    dumped: bool
    scripts: int | None = None
    most_scripts: int | None = None
    hits: int | None = None
    misses: int | None = None
    memory_restarts: int | None = None
    hash_restarts: int | None = None
    manual_restarts: int | None = None
    started: datetime | None = None
    restarted: datetime | None = None
    restart_pending: bool | None = None
    restart_in_progress: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What the interpreter says of itself.

    `callbacks` are functions of the script that the interpreter calls on its own (error handler,
    shutdown functions), as sentences. `environment` has lengths instead of values, but for
    variables that are known to hold no secret.
    """

    name: str
    version: str | None = None
    sapi: str | None = None
    debug: bool | None = None
    zts: bool | None = None
    script: str | None = None
    request: Request | None = None
    extensions: Mapping[str, str | None] = field(default_factory=dict)
    options: Mapping[str, str | None] = field(default_factory=dict)
    memory: MemoryUse | None = None
    last_error: LastError | None = None
    exception: LastError | None = None
    jit: bool | None = None
    fibers: tuple[Fiber, ...] = ()
    hooks: tuple[Hook, ...] = ()
    callbacks: tuple[str, ...] = ()
    opcache: Opcache | None = None
    heap: HeapCheck | None = None
    worker: Worker | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement about the crash, with what it rests on and what to do about it."""

    rule: str
    title: str
    confidence: Confidence
    evidence: tuple[str, ...]
    explanation: str
    next_steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The key under which equal crashes meet. `key` is exact and versioned (`v1:…`), `title` for people.

    `steps` says, frame by frame, what was kept or dropped and why.
    """

    key: str
    title: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One triaged core."""

    id: str
    core: str
    status: Status
    time: datetime | None
    host: str | None
    pid: int | None
    executable: str | None
    build_id: str | None
    arguments: tuple[str, ...]
    signal: Signal | None
    runtime: Runtime | None
    threads: tuple[Thread, ...]
    modules: tuple[Module, ...]
    findings: tuple[Finding, ...] = ()
    signature: Signature | None = None
    cluster: str | None = None
    registers: Mapping[str, int] = field(default_factory=dict)
    instruction: str | None = None
    gdb: str | None = None
    warnings: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)

    @property
    def crashed_thread(self) -> Thread | None:
        """The thread that took the signal."""
        return next((thread for thread in self.threads if thread.crashed), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one input gave no crash. `code` is a stable word, `message` a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one input: a crash, a crash with gaps, or a failure."""

    core: str
    status: Status
    crash: Crash | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashRow:
    """A crash as lists show it: no stacks, so that a hundred thousand fit."""

    id: str
    core: str
    status: Status
    time: datetime | None
    host: str | None
    pid: int | None
    executable: str | None
    signal: str | None
    runtime: str | None
    script: str | None
    cluster: str | None
    title: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Crashes that share a signature. `id` never changes."""

    id: str
    title: str
    signature: str
    count: int
    first_seen: datetime | None
    last_seen: datetime | None
    state: State = State.NEW
    severity: str = "crash"
    crashes: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    note: str | None = None
