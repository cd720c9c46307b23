"""Steps by address, computed once for each place in each build and kept for the next core."""

from __future__ import annotations

from typing import NamedTuple

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.symbols import Finder
from triage.symbols.elffile import ElfFile
from triage.unwind.cfi import Step, Unreadable, step_at

_MOST = 200_000


class Spot(NamedTuple):
    """An address within a build; `module` is None for code that lies in no file (made by a JIT)."""

    module: tuple[str, str | None] | None
    offset: int


class Stand(NamedTuple):
    """Where a caller stands, one object for every process, and its plain step, laid out for a slice of the stack.

    The CFA is register `base` plus `offset`. The words below it, so many, hold the registers of the caller: `saved`
    are `(register, which of these words)`.
    """

    spot: Spot
    base: int
    offset: int
    words: int
    saved: tuple[tuple[int, int], ...]


def _stand(spot: Spot, step: Step) -> Stand:
    count = -step.reach // 8
    return Stand(spot, step.base, step.offset, count, tuple((to, at // 8 + count) for to, at in step.saved))


class Tables:
    """What was learned from the unwind tables of every build met so far."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._steps: dict[str, dict[int, Step | str]] = {}
        self._stands: dict[tuple[str, str | None], dict[int, Stand]] = {}
        self._count = 0

    def step(self, core: CoreFile, address: int) -> Step | str:
        """The step for the instruction at `address`, or a clause why there is none."""
        module = core.module_at(address)
        if module is None:
            return "code outside every module"
        place = address - module.base
        known = self._steps.get(module.build_id or "", {}).get(place)
        return known if known is not None else self._new(module, place)

    def stands(self, module: MappedModule) -> dict[int, Stand]:
        """What is known of callers in this file, by their distance from its base; see `stand`."""
        return self._stands.setdefault((module.path, module.build_id), {})

    def stand(self, core: CoreFile, module: MappedModule, place: int) -> Stand | None:
        """What there is to know of a caller in this file; `None` for all that needs a closer look."""
        before = module.base + place - 1  # the call may be the last instruction of its function, and of its file
        step = self.step(core, before) if core.module_at(before) is module else ""
        if isinstance(step, str) or not step.plain:
            return None
        found = _stand(Spot((module.path, module.build_id), place), step)
        self.stands(module)[place] = found
        return found

    def _new(self, module: MappedModule, place: int) -> Step | str:
        file = self._proven(module)
        if isinstance(file, str):
            return file
        found = self._computed(file, place, module)
        self._steps.setdefault(module.build_id or "", {})[place] = found
        return found

    def _proven(self, module: MappedModule) -> ElfFile | str:
        located = self._finder.locate(module)
        name = module.path.rsplit("/", 1)[-1]
        if located.file is None:
            return f"the file of {name} is not at hand"
        if not located.verified:
            return f"the file of {name} is not proven to be the one that ran"
        return located.file

    def _computed(self, file: ElfFile, place: int, module: MappedModule) -> Step | str:
        self._count += 1
        if self._count > _MOST:  # bounds the memory of a long run; what is needed comes back
            self._steps, self._stands, self._count = {module.build_id or "": {}}, {}, 1
        name = module.path.rsplit("/", 1)[-1]
        entry = file.frame_entry(place)
        try:
            found = step_at(file.read, entry, place) if entry is not None else None
        except Unreadable as reason:
            return f"{name}: {reason}"
        return found if found is not None else f"{name} has no unwind table for this code"
