"""What a rule may look at, and the small questions rules ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from triage.corefile.protocol import AddressSpace, Region
from triage.model import (
    Fault,
    Flip,
    Frame,
    HeapPlace,
    Instruction,
    Module,
    Runtime,
    ScriptFrame,
    Signal,
    Thread,
)

FAULTS = ("SIGSEGV", "SIGBUS")
_KIND = Frame._fields.index("kind")
READ, WRITE, EXECUTE = 4, 2, 1
_PLACE = attrgetter("function", "class_name", "file", "line")


def _nowhere(address: int) -> HeapPlace | None:
    return None


@dataclass(kw_only=True, eq=False)
class Case:
    """One crash before its findings.

    `stack_pointer` and `registers` are those of the thread that crashed. `heap_place` tells what the
    interpreter's allocator knows of an address. `script_stack` is the interpreter's own stack without
    the bounds that `thread` has. `last_words` are what the interpreter itself printed
    as it gave up, `abort_message` what the C library kept.
    """

    signal: Signal | None
    pid: int | None
    memory: AddressSpace
    parent: int | None = None
    machine: str | None = "x86_64"
    registers: Mapping[str, int] = field(default_factory=dict)
    stack_pointer: int | None = None
    pc: int | None = None
    instruction: Instruction | None = None
    fault: Fault | None = None
    thread: Thread | None = None
    runtime: Runtime | None = None
    modules: tuple[Module, ...] = ()
    abort_message: str | None = None
    last_words: str | None = None
    flips: tuple[Flip, ...] = ()
    truncated: bool = False
    script_stack: tuple[ScriptFrame, ...] = ()
    heap_place: Callable[[int], HeapPlace | None] = _nowhere

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The crashed stack, innermost first; empty when it is unknown."""
        return self.thread.frames if self.thread is not None else ()

    @property
    def language(self) -> str:
        """What the reader writes code in; PHP where no interpreter was found."""
        return self.runtime.language if self.runtime is not None else "PHP"

    @cached_property
    def functions(self) -> tuple[str | None, ...]:
        """The function of each frame where that is a native one."""
        return tuple([frame.function if frame[_KIND] == "native" else None for frame in self.frames])

    @cached_property
    def entered(self) -> int:
        """How many frames are inside of all script code."""
        for at, frame in enumerate(self.frames):
            if frame[_KIND] not in ("native", "gap") and frame.file is not None:
                return at
        return len(self.frames)

    @cached_property
    def _native(self) -> list[Frame]:
        return [frame for frame in self.frames if frame[_KIND] == "native"]

    @cached_property
    def _script(self) -> list[Frame]:
        return [frame for frame in self.frames if frame[_KIND] not in ("native", "gap")]

    def native(self) -> Iterator[Frame]:
        """Its native frames."""
        return iter(self._native)

    def script(self) -> Iterator[Frame]:
        """Its frames of the interpreter."""
        return iter(self._script)

    def script_turns(self, frame: Frame) -> int:
        """How often a script frame's very place is on the interpreter's stack."""
        wanted = _PLACE(frame)
        return list(map(_PLACE, self.script_stack)).count(wanted)

    def region(self, address: int) -> Region | None:
        """What is mapped at an address."""
        return self.memory.region_at(address)

    def module_at(self, address: int) -> Module | None:
        """The file whose mapping holds an address."""
        return next((module for module in self.modules if module.start <= address < module.end), None)


def script_name(frame: Frame) -> str:
    """`Shop\\Cart->total()`, `{main}`."""
    name = frame.function or "an unreadable function"
    call = name if name.startswith("{main}") else f"{name}()"
    return f"{frame.class_name.split(chr(0))[0]}{frame.call or '::'}{call}" if frame.class_name else call


def native_name(frame: Frame) -> str:
    """A native frame's function, or what stands in for its name."""
    if frame.function:
        return frame.function
    module = frame.module.rsplit("/", 1)[-1] if frame.module else None
    return f"an unnamed function of {module}" if module else "code that belongs to no file"


def native_call(frame: Frame) -> str:
    """`memcpy()`, or what stands in for an unknown name."""
    return f"{frame.function}()" if frame.function else native_name(frame)


def file_name(path: str) -> str:
    """The last part of a path."""
    return path.rsplit("/", 1)[-1]
