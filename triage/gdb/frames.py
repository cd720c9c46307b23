"""GDB's answer turned into native frames: each program counter put into its module and function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triage.corefile import CoreFile
from triage.corefile.elf import PF_X
from triage.corefile.modules import MappedModule
from triage.model import NativeFrame, NativeThread, Symbols
from triage.symbols import Finder

_NO_CODE = "what comes next on the stack is no return address"


def native_threads(answer: Mapping[str, Any], core: CoreFile, finder: Finder) -> tuple[NativeThread, ...]:
    """The threads of a `triage-dump` answer, the crashed one first."""
    crashed = answer["crashed"]
    return tuple(_thread(raw, core, finder, is_crashed=raw["id"] == crashed) for raw in answer["threads"])


def _thread(raw: Mapping[str, Any], core: CoreFile, finder: Finder, *, is_crashed: bool) -> NativeThread:
    place = _Places(core, finder)
    rows = [*raw["frames"], *raw["outer"]]
    frames: list[NativeFrame] = []
    for at, row in enumerate(rows):
        # A caller's pc is the return address, which may already belong to the next function.
        caller = at > 0 and not rows[at - 1]["handler"]
        if caller and not _is_code(core, finder, int(row["pc"])):
            # Without unwind tables GDB guesses, and what it guesses may be any word on the stack.
            return NativeThread(
                id=raw["id"], name=raw["name"], crashed=is_crashed, frames=tuple(frames), depth=at, stop=_NO_CODE
            )
        trust = _trust(rows[at - 1], frames[at - 1]) if at > 0 else "context"
        frames.append(place.frame(row, caller=caller, trust=trust if row["level"] == at else None))
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


def _is_code(core: CoreFile, finder: Finder, address: int) -> bool:
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


class _Places:
    """Modules by address, looked up once per core."""

    def __init__(self, core: CoreFile, finder: Finder) -> None:
        self._core = core
        self._finder = finder

    def frame(self, row: Mapping[str, Any], *, caller: bool, trust: str | None) -> NativeFrame:
        pc = int(row["pc"])
        module = self._core.module_at(pc)
        symbols = self._finder.locate(module).symbols if module else None
        # Names GDB gave for a file of another build would be wrong with full confidence.
        trusted = symbols not in (Symbols.MISMATCH, Symbols.MISSING)
        return NativeFrame(
            level=int(row["level"]),
            pc=pc,
            sp=row["sp"],
            function=row["name"] if trusted else None,
            module=module.path if module else None,
            offset=pc - module.base if module else None,
            function_start=self._start(module, pc - 1 if caller else pc) if module else None,
            file=row["file"] if trusted else None,
            line=row["line"] if trusted else None,
            inlined=bool(row["inline"]),
            signal_handler=bool(row["handler"]),
            vm_register=row["loop"],
            trust=trust,
        )

    def _start(self, module: MappedModule, address: int) -> int | None:
        file = self._finder.locate(module).file
        start = file.function_start(address - module.base) if file else None
        return start + module.base if start is not None else None
