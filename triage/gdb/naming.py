"""A new shape named by GDB without opening its core: frames are a matter of where they stand in their files.

GDB holds one core of the program open with all of its libraries. The new stack's addresses are moved to where the
same files lie in that core, and GDB is told that its innermost frame had these callers. What it shows of them is what
it would show of the new core, tail calls excepted: where there may be one, or anything else that hangs on memory
(signal frames, generated code, a stack that goes up and down), the core is opened as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule, ModuleMap
from triage.gdb import tailcalls
from triage.gdb.session import GdbSession
from triage.gdb.shapes import ADDRESS, whole_answer
from triage.symbols import Finder
from triage.unwind import Place, Walk

_CODE = 16  # bytes, as inside.py has it: no instruction is longer
Bounds = Sequence[tuple[int, int]]


class Unnamed(Exception):
    """The stack cannot be named by its addresses alone."""


class Lost(Unnamed):
    """The core that GDB held open cannot be read any more."""


def named(
    core: CoreFile,
    finder: Finder,
    walks: Sequence[Walk],
    session: GdbSession,
    loop_register: str | None,
    bounds: Bounds,
) -> dict[str, Any]:
    """GDB's answer for this core, as `GdbSession.examine` gives it.

    `bounds` are `(inner, outer)`, how many frames GDB is asked for, of the first thread and of the others.

    Raises:
        Unnamed: when its core has to be opened; Lost when that is because of the one held open.
        GdbFailed: when GDB gives no answer.
    """
    if not session.held:
        raise Unnamed
    moved = _Moved(core, finder, session.held)
    at = core.notes.threads[0].registers.get("rip")
    if at is None:
        raise Unnamed
    stacks = [_stack(walk, moved) for walk in walks]
    answer = session.name(stacks, moved.there(at))
    if "lost" in answer:
        raise Lost
    code = core.memory.read(at, _CODE)
    if code is None or code.hex() != answer["code"]:
        raise Unnamed  # no code there, or other code than in the file
    threads = [
        _thread(walk, raw, bounds[min(number, 1)], moved, loop_register)
        for number, (walk, raw) in enumerate(zip(walks, answer["stacks"], strict=True))
    ]
    text = ADDRESS.sub(lambda found: f"{moved.here(int(found[0], 16)):#x}", answer["instruction"])
    return whole_answer(core, threads, text)


class _Moved:
    """Addresses of this core and of the one that is held, whose files lie elsewhere."""

    def __init__(self, core: CoreFile, finder: Finder, held: Sequence[MappedModule]) -> None:
        self._core = core
        self._finder = finder
        self._held = ModuleMap(held)
        self._bases = {(module.path, module.build_id): module.base for module in held}
        self._own = {(module.path, module.build_id): module.base for module in core.modules}

    def there(self, pc: int) -> int:
        """The address in the core that is held."""
        module = self._core.module_at(pc)
        base = self._bases.get((module.path, module.build_id)) if module and module.build_id else None
        if module is None or base is None:
            raise Unnamed
        return base + pc - module.base

    def may_hide(self, back: int, called: int) -> bool:
        """Whether GDB may show tail calls before a return address; the callee begins at `called` in the core held."""
        return tailcalls.may_be(self._core, self._finder, back, self.here(called))

    def here(self, address: int) -> int:
        """The address in this core of one in the core that is held; as it is where it lies in no file."""
        module = self._held.at(address)
        if module is None:
            return address
        base = self._own.get((module.path, module.build_id))
        if base is None:
            raise Unnamed
        return base + address - module.base


def _stack(walk: Walk, moved: _Moved) -> list[int]:
    places = walk.places
    if walk.reason or walk.depth != len(places) or any(place.signal or place.vouched for place in places):
        raise Unnamed
    if not places or any(place.sp >= caller.sp for place, caller in pairwise(places)):
        raise Unnamed
    # The innermost frame is looked up where it stands, its callers one byte before.
    return [moved.there(place.pc) + (at == 0) for at, place in enumerate(places)]


def _thread(
    walk: Walk, raw: Mapping[str, Any], bounds: tuple[int, int], moved: _Moved, loop_register: str | None
) -> dict[str, Any]:
    rows = raw["frames"]
    if raw["stop"] is not None or all(row["inline"] for row in rows) or len(rows) > sum(bounds):
        raise Unnamed
    for row in rows:
        if row["called"] is not None and moved.may_hide(walk.places[row["at"]].pc, row["called"]):
            raise Unnamed
    frames = [_frame(row, walk.places[row["at"]], level, loop_register) for level, row in enumerate(rows)]
    return {
        "frames": frames[: bounds[0]],
        "outer": frames[bounds[0] :],
        "depth": len(frames),
        "stop": None,
        "id": walk.thread,
        "name": None,
    }


def _frame(row: Mapping[str, Any], place: Place, level: int, loop_register: str | None) -> dict[str, Any]:
    """The frame as GDB would describe it; what is not a matter of its address is the walk's."""
    return {
        "level": level,
        "pc": place.pc,
        "sp": None if row["inline"] else place.sp,
        "name": row["name"],
        "file": row["file"],
        "line": row["line"],
        "inline": row["inline"],
        "handler": False,
        "tail": False,
        "vouched": False,
        "loop": place.loop if loop_register else None,
    }
