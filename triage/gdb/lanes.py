"""Two lanes to one answer: the core's own tables for every core, GDB once for each new shape.

The fast lane walks the stack with the unwind tables of the proven files. Where GDB has seen that very
shape before, its names are put on the frames. For a new shape an answer is drafted: of the calls that GDB has seen in
other stacks, or else by what GDB says of its addresses in a core that it has open (`naming`). About the first of
the drafts GDB is asked all the same, then about ever fewer, and where it says otherwise none is made any more. Where
there is none GDB opens the core, and its answer is kept if the walk gives it back whole. What the walk cannot
follow to its end is GDB's every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from triage.config import Limits
from triage.corefile import CoreFile
from triage.gdb import naming
from triage.gdb.frames import Native, native
from triage.gdb.session import GdbFailed, Target
from triage.gdb.sessions import Sessions
from triage.gdb.shapes import Places, Shapes
from triage.gdb.target import program_of, target_of
from triage.model import Unwinding
from triage.symbols import Finder
from triage.symbols.proven import libraries
from triage.unwind import Bounds, Tables, Walk, walk_threads

_MORE = 16  # what GDB leaves out at the outer end (all that called main) must be in the walk
_WORTH = 2000  # GDB walks that many frames itself: what it can see it shall see
_DEEPEST = 5_000_000
_OUTER_OF_OTHERS = 4  # as inside.py has it
_ONE_OF = 32
_MOST_LOST = 2  # where cores are removed as they are done, as unpacked ones are, to hold one is of no use
_OTHERS_MORE = 1000


class _Draft(NamedTuple):
    """An answer made without opening the core, and `how`."""

    how: str
    answer: dict[str, Any]


class Lanes:
    """Native stacks, core after core.

    `tally` counts the lanes: `reused`, `composed`, `named`, `asked`, and `deferred: REASON`.
    """

    def __init__(self, sessions: Sessions, finder: Finder, limits: Limits, *, reuse: bool) -> None:
        self._sessions = sessions
        self._finder = finder
        self._limits = limits
        others = limits.other_thread_frames
        self._crashed = Bounds(limits.inner_frames, limits.outer_frames + _MORE, _DEEPEST)
        self._others = Bounds(others, _OUTER_OF_OTHERS + _MORE, others + _OTHERS_MORE)
        self._reuse = reuse
        self._tables = Tables(finder)
        self._shapes = Shapes()
        self._drafted: Counter[str] = Counter()
        self._is_drafting = reuse
        self._lost = 0
        self.tally: Counter[str] = Counter()

    def answer(self, core: CoreFile, rules: Unwinding | None, loop_register: str | None) -> Native:
        """The native stacks of this core's threads, as GDB shows them, asked now or remembered.

        `loop_register` is the one in which the interpreter keeps its own frame, if it does.

        Raises:
            GdbFailed: when GDB had to be asked and gave no answer.
        """
        walks = self._walks(core, rules)
        doubt = next((walk.reason for walk in walks if walk.reason is not None), None)
        place = Places(core, loop_register)
        known = self._shapes.recall(place, walks, self._finder) if self._reuse and doubt is None else None
        if isinstance(known, Native):
            self.tally["reused"] += 1
            return known
        draft = self._draft(place, walks, loop_register) if known is None and doubt is None else None
        if draft is not None and not self._is_to_be_checked(draft.how):
            unfit = self._shapes.learn(place, walks, draft.answer, resumed=False)
            if unfit is None:
                self.tally[draft.how] += 1
                return native(draft.answer, core, self._finder)
        resume = self._resume(walks[0]) if self._reuse and walks and walks[0].reason is None else None
        target = self._target(core, walks if self._reuse and doubt is None else None)
        session = self._sessions.of(target.executable)
        answer = session.examine(target, loop_register, rules, resume)
        if draft is not None and "reduced" not in answer and answer != draft.answer:
            self._is_drafting = False
            self._shapes = Shapes()  # what other drafts taught may be wrong as well
        if doubt is None and "reduced" not in answer:
            doubt = self._shapes.learn(place, walks, answer, resumed=resume is not None)
        self.tally["asked" if doubt is None else f"deferred: {doubt}"] += 1
        return native(answer, core, self._finder)

    @property
    def isolation(self) -> str | None:
        """How the GDB that was asked last is confined; `None` when none was."""
        held = self._sessions.isolation
        return str(held) if held is not None else None

    def _walks(self, core: CoreFile, rules: Unwinding | None) -> Sequence[Walk]:
        return list(walk_threads(core, self._tables, rules, self._crashed, self._others, self._limits.threads))

    def _draft(self, place: Places, walks: Sequence[Walk], loop_register: str | None) -> _Draft | None:
        """The answer to a new shape without opening its core, where there can be one."""
        if not self._is_drafting:
            return None
        limits = self._limits
        bounds = (limits.inner_frames, limits.outer_frames), (limits.other_thread_frames, _OUTER_OF_OTHERS)
        composed = self._shapes.compose(place, walks, bounds)
        if composed is not None:
            return _Draft("composed", composed)
        if self._lost >= _MOST_LOST:
            return None
        core = place.core
        session = self._sessions.of(program_of(core, self._finder))
        try:
            return _Draft("named", naming.named(core, self._finder, walks, session, loop_register, bounds))
        except naming.Unnamed as reason:
            self._lost += isinstance(reason, naming.Lost)
            return None
        except GdbFailed:
            self._is_drafting = False  # GDB is started anew for this core, which it shall not be for each
            return None

    def _is_to_be_checked(self, how: str) -> bool:
        """Whether GDB opens the core of a draft all the same: of the first ones of a kind, then of ever fewer."""
        self._drafted[how] += 1
        count = self._drafted[how]
        return count & (count - 1) == 0 or count % _ONE_OF == 0  # 1, 2, 4, 8, …

    def _resume(self, walk: Walk) -> Mapping[str, object] | None:
        """Where GDB shall go on in a deep recursion; `None` when it is to walk all of it."""
        if walk.depth <= self._limits.inner_frames + self._limits.outer_frames + _WORTH:
            return None
        return {"level": walk.depth - len(walk.outer), "registers": dict(walk.resume)}

    def _target(self, core: CoreFile, walks: Sequence[Walk] | None) -> Target:
        """What GDB is to open; with `walks` it reads only the libraries these go through."""
        loaded = libraries(core, self._finder)
        addresses = {place.pc for walk in walks or () for place in walk.places}
        return replace(
            target_of(core, self._finder),
            named=loaded.named(core),
            needed=loaded.on(core, addresses) if walks is not None else None,
        )
