"""A crash, what is known about it, and the cluster it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import NamedTuple

from triage.model.decision import Decision
from triage.model.instruction import Fault
from triage.model.origin import Origin
from triage.model.record import record
from triage.model.runtime import Runtime
from triage.model.stack import Thread
from triage.model.words import Confidence, Flag, State, Status, Symbols, Topic


@record
class Signal:
    """Why the kernel stopped the process.

    `address` is the faulting address for SIGSEGV, SIGBUS, SIGILL, SIGFPE; `sender` the
    process id that sent the signal when a process did (`si_code` SI_USER, SI_TKILL, …), `sender_user`
    that process's user id.
    """

    number: int
    name: str
    code: int | None = None
    code_name: str | None = None
    address: int | None = None
    sender: int | None = None
    sender_user: int | None = None


class Module(NamedTuple):
    """A file mapped into the process. `start`/`end` are absolute, `end` exclusive.

    `base` is what to subtract from an address to get the ELF virtual address. `deleted` tells that the file had been
    removed or replaced on the disk while the process still used it. A tuple: each core has dozens of them.
    """

    path: str
    build_id: str | None
    start: int
    end: int
    symbols: Symbols
    base: int = 0
    deleted: bool = False


@record
class Finding:
    """One statement about the crash, with what it rests on and what to do about it."""

    rule: str
    title: str
    confidence: Confidence
    evidence: tuple[str, ...]
    explanation: str
    next_steps: tuple[str, ...] = ()
    topic: Topic = Topic.FAULT


@record
class Signature:
    """The keys under which equal crashes meet. `key` is exact and versioned (`v2:…`), `title` for people.

    `aliases` are further exact keys, any of which will do. `steps` says, frame by frame, what was kept
    or dropped and why. `markers` tell of what cannot be in a key: `stack-overflow`, `heap-corrupted`,
    `heap:FUNCTION` (died in the allocator), `collecting`, `at-shutdown`, `in-jit`, `bad-jump`, `stale-binary`.
    """

    key: str
    title: str
    steps: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()


@record
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
    fault: Fault | None = None
    origin: Origin | None = None
    gdb: str | None = None
    isolation: str | None = None
    """How GDB was confined while it read this core, such as `bubblewrap+seccomp as nobody`."""
    warnings: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)

    @property
    def crashed_thread(self) -> Thread | None:
        """The thread that took the signal."""
        return next((thread for thread in self.threads if thread.crashed), None)


@record
class Failure:
    """Why one input gave no crash. `code` is a stable word, `message` a sentence for people."""

    code: str
    message: str


@record
class Outcome:
    """What became of one input: a crash, a crash with gaps, or a failure."""

    core: str
    status: Status
    crash: Crash | None = None
    failure: Failure | None = None


@record
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


@record
class Cluster:
    """Crashes that share a signature. `id` never changes.

    `state` and `note` are those of `decision`, the one that holds now; `flags` are worked out from it and
    from the crashes, and `remarks` say why, in sentences.
    """

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
    decision: Decision | None = None
    flags: tuple[Flag, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether somebody should look: nobody has decided yet, or what was decided holds no longer."""
        return self.state is State.NEW or Flag.REGRESSED in self.flags or Flag.AWAKE in self.flags


@record
class Regrouping:
    """A merge of one cluster into another, or a split of crashes from one into another.

    `by` is `user` or `triage`; `undone` when it was taken back.
    """

    number: int
    kind: str
    cluster: str
    target: str
    by: str
    why: str | None
    time: datetime | None
    undone: datetime | None


@record
class Incident:
    """Clusters whose crashes look like victims of one memory corruption; `what` says by what they are linked."""

    what: str
    clusters: tuple[str, ...]
    count: int
    first_seen: datetime | None
    last_seen: datetime | None
