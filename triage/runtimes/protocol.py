"""What every interpreter's folder offers: find yourself in a core, read your stack and your facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from triage.model import HeapPlace, Runtime, ScriptFrame, Unwinding


def nowhere(address: int) -> HeapPlace | None:
    """What an interpreter without a heap of its own knows of an address."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one interpreter's state told.

    `frames` innermost first, those of the crashed thread; `others` those of further threads that
    run scripts, by thread id. `names` gives names to native functions that no symbol table has
    (absolute start address → name). `loops` are the native functions that run script code: each
    of their frames on the native stack stands for a run of script frames. `code` are the ranges
    of machine code the interpreter made itself (JIT). `unwinding` tells how the native stack goes
    on there and across fibers. `heap_place` tells what the interpreter's allocator knows of an
    address; `last_words` what it said as it gave up. `thread_names` are the names it gives its threads,
    by thread id. `loop_registers` names the register in which the loop keeps the running frame, by
    machine, where it always does. `warnings` say what could not be read, `hints` what triage does
    not even try, and what does.
    """

    runtime: Runtime
    frames: tuple[ScriptFrame, ...]
    depth: int
    others: Mapping[int, tuple[ScriptFrame, ...]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    loops: frozenset[str] = frozenset()
    code: tuple[tuple[int, int], ...] = ()
    unwinding: Unwinding | None = None
    heap_place: Callable[[int], HeapPlace | None] = nowhere
    last_words: str | None = None
    thread_names: Mapping[int, str] = field(default_factory=dict)
    loop_registers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """A question a debugger's user may ask of the interpreter's memory: `run` gives lines of text."""

    usage: str
    summary: str
    run: Callable[[Sequence[str]], Iterator[str]]


class Interpreter(Protocol):
    """One interpreter, found in one core."""

    name: str

    def read(self) -> Reading:
        """Read everything; never raises for what the core holds or lacks."""
        ...

    def inspections(self) -> Mapping[str, Inspection]:
        """What may be asked, by name without the interpreter's own (`frame` for `php-frame`)."""
        ...
