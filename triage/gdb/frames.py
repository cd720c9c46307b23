"""GDB's answer turned into native frames: each program counter put into its module and function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from triage.corefile import CoreFile
from triage.corefile.elf import PF_X
from triage.model import NativeFrame, NativeThread, Symbols
from triage.symbols import Finder

_OTHER_BUILD = (Symbols.MISMATCH, Symbols.MISSING)
_NO_CODE = "what comes next on the stack is no return address"


class Native(NamedTuple):
    """What is known of the native stacks: `threads`, the crashed one first, of `total` that the process had.

    `registers` are those of the thread that crashed, `instruction` is where it stood, as GDB writes it.
    `reduced` says why GDB was asked again for less than it should have shown.
    """

    threads: tuple[NativeThread, ...]
    registers: dict[str, int]
    instruction: str | None
    total: int
    reduced: str | None = None


def native(answer: Mapping[str, Any], core: CoreFile, finder: Finder) -> Native:
    """A `triage-dump` answer, each address put into its module."""
    crashed = answer["crashed"]
    threads = tuple(_thread(raw, core, finder, is_crashed=raw["id"] == crashed) for raw in answer["threads"])
    return Native(threads, answer["registers"], answer["instruction"], answer["count"], answer.get("reduced"))


def _thread(raw: Mapping[str, Any], core: CoreFile, finder: Finder, *, is_crashed: bool) -> NativeThread:
    rows = [*raw["frames"], *raw["outer"]]
    frames: list[NativeFrame] = []
    for at, row in enumerate(rows):
        # A caller's pc is the return address, which may already belong to the next function.
        caller = at > 0 and not rows[at - 1]["handler"]
        trust = _trust(rows[at - 1], frames[at - 1]) if at > 0 else "context"
        frame = _frame(row, core, finder, caller=caller, trust=trust if row["level"] == at else None)
        if caller and frame.function_start is None and not is_code(core, finder, frame.pc):
            # Without unwind tables GDB guesses, and what it guesses may be any word on the stack.
            return NativeThread(
                id=raw["id"], name=raw["name"], crashed=is_crashed, frames=tuple(frames), depth=at, stop=_NO_CODE
            )
        frames.append(frame)
    return NativeThread(
        id=raw["id"],
        name=raw["name"],
        crashed=is_crashed,
        frames=tuple(frames),
        depth=raw["depth"],
        gap=max(0, raw["depth"] - len(rows)),
        gap_at=len(raw["frames"]),
        stop=raw["stop"],
    )


def is_code(core: CoreFile, finder: Finder, address: int) -> bool:
    """Whether a call can have been made from right before an address."""
    region = core.memory.region_at(address - 1)
    if region is not None and region.flags & PF_X:
        return True
    # A core that a debugger wrote leaves code out, and with it the rights of its mapping: the file tells.
    module = core.module_at(address - 1)
    file = finder.locate(module).file if module is not None else None
    return file is not None and module is not None and file.function_start(address - 1 - module.base) is not None


def _trust(inner_row: Mapping[str, Any], inner: NativeFrame) -> str:
    """How the caller of `inner` was found."""
    if inner.inlined:
        return inner.trust or "cfi"
    if inner_row["handler"]:
        return "context"
    if inner_row.get("vouched"):
        return "frame-pointer" if inner.module is None else "context"
    return "cfi" if inner.function_start is not None else "scan"


def _frame(row: Mapping[str, Any], core: CoreFile, finder: Finder, *, caller: bool, trust: str | None) -> NativeFrame:
    pc: int = row["pc"]
    module = core.module_at(pc)
    located = finder.locate(module) if module is not None else None
    start = None
    if module is not None and located is not None and located.file is not None:
        start = located.file.function_start((pc - 1 if caller else pc) - module.base)
    # Names GDB gave for a file of another build would be wrong with full confidence.
    trusted = located is None or located.symbols not in _OTHER_BUILD
    return NativeFrame(
        level=row["level"],
        pc=pc,
        sp=row["sp"],
        function=row["name"] if trusted else None,
        module=module.path if module is not None else None,
        offset=pc - module.base if module is not None else None,
        function_start=start + module.base if start is not None and module is not None else None,
        file=row["file"] if trusted else None,
        line=row["line"] if trusted else None,
        inlined=bool(row["inline"]),
        signal_handler=bool(row["handler"]),
        vm_register=row["loop"],
        trust=trust,
    )
