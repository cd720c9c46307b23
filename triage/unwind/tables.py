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
    """Where a caller stands, one object for every process, and its step: a plain one."""

    spot: Spot
    step: Step


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

    def stand(self, core: CoreFile, pc: int) -> Stand | None:
        """What there is to know of a caller that goes on at `pc`; `None` for all that needs a closer look."""
        module = core.module_at(pc)
        if module is None:
            return None
        place = pc - module.base
        known = self._stands.get((module.path, module.build_id))
        found = known.get(place) if known is not None else None
        return found if found is not None else self._new_stand(core, module, place)

    def _new_stand(self, core: CoreFile, module: MappedModule, place: int) -> Stand | None:
        # The call may be the last instruction of its function, and of its file.
        before = module.base + place - 1
        step = self.step(core, before) if core.module_at(before) is module else ""
        if isinstance(step, str) or not step.plain:
            return None
        key = module.path, module.build_id
        found = Stand(Spot(key, place), step)
        self._stands.setdefault(key, {})[place] = found
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
