"""Answers found in one process, for others alike.

Twins are processes with files at the same addresses, as a master's workers are: what is the same byte for byte
gives the same answer (evidence.py). Kin have the same files elsewhere, as processes have that were started
one by one: what differs in nothing but addresses gives the same answer, its own addresses moved (movable.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import NamedTuple, TypeVar, cast

from triage.corefile.core import CoreFile
from triage.corefile.evidence import Evidence, Noting, Recalled
from triage.corefile.movable import Files, Movable, Shift, Unmoved, files_of, movable

T = TypeVar("T")
_MOST_KINDS = 64
_MOST_SETS = 64
_MOST_NOTED = 8


class Asked(NamedTuple):
    """A question: what else but memory its answer depends on.

    Among twins that is the kind of process before all; `kin`, among kin, has no addresses in it, and is `None`
    where the answer is not to be moved. `gap` is evidence.py's.
    """

    twin: Hashable
    kin: Hashable | None = None
    gap: int = 0


class Kept(NamedTuple):
    """An answer for this process; `evidence` gives what it was made of, as it lies in this process."""

    answer: object
    evidence: Callable[[], Evidence]


class Twins:
    """Which processes are of one kind, and what was found in them.

    A kind is told by the identity of objects that are the same for twins: `CoreFile.modules` is one; for kin
    `Files.same` is.
    """

    def __init__(self) -> None:
        self._twins: Recalled[Evidence] = Recalled()
        self._kin: Recalled[Movable] = Recalled()
        self._noted: OrderedDict[Hashable, tuple[object, Noting, Files]] = OrderedDict()
        self._same: dict[int, dict[Hashable, object]] = {}
        self._kinds: OrderedDict[tuple[int, ...], tuple[int, tuple[object, ...]]] = OrderedDict()
        self._count = 0
        self._sets: OrderedDict[Hashable, tuple[tuple[str, str | None, bool, int, int], ...]] = OrderedDict()
        self._recent: tuple[object, Files] | None = None

    def kind(self, *same: object) -> int:
        """The number of the kind that has these very objects."""
        key = tuple(map(id, same))
        if key not in self._kinds:
            self._count += 1
            self._kinds[key] = self._count, same  # kept, so that nothing else gets their ids
            if len(self._kinds) > _MOST_KINDS:
                _, (gone, _) = self._kinds.popitem(last=False)
                self._same.pop(gone, None)
        self._kinds.move_to_end(key)
        return self._kinds[key][0]

    def files(self, core: CoreFile) -> Files:
        """The files of this process, and where each lies."""
        if self._recent is None or self._recent[0] is not core.modules:
            own = files_of(core.modules)
            same = self._sets.setdefault(own.same, own.same)
            self._sets.move_to_end(same)
            if len(self._sets) > _MOST_SETS:
                self._sets.popitem(last=False)
            self._recent = core.modules, own._replace(same=same)
        return self._recent[1]

    def same(self, core: CoreFile, question: Hashable, work: Callable[[], T]) -> T:
        """The answer of `work`, which must depend on nothing but which files lie where."""
        return self.once(self.kind(core.modules), question, work)

    def alike(self, core: CoreFile, question: Hashable, work: Callable[[Files], T]) -> T:
        """The answer of `work`, which must depend on nothing but which files there are, wherever they lie."""
        files = self.files(core)
        return self.once(self.kind(files.same), question, lambda: work(files))

    def once(self, kind: int, question: Hashable, work: Callable[[], T]) -> T:
        """The answer of `work`, which must depend on nothing but the objects that make the kind."""
        answers = self._same.setdefault(kind, {})
        if question not in answers:
            answers[question] = work()
        return cast(T, answers[question])

    def get(
        self,
        core: CoreFile,
        asked: Asked,
        work: Callable[[CoreFile], T],
        *,
        move: Callable[[T, Shift], T] | None = None,
    ) -> T:
        """The answer of `work` for this core; it must read all it needs from the core it is given.

        `move` gives the answer for kin, where there are addresses in it.
        """
        found = self.find(core, asked, cast(Callable[[object, Shift], object] | None, move))
        if found is not None:
            return cast(T, found.answer)
        if not self.is_worth_noting(asked):
            return work(core)
        noting = Noting(core.memory, gap=asked.gap)
        answer = work(replace(core, memory=noting))
        self.keep(core, asked, answer, noting)
        return answer

    def find(
        self, core: CoreFile, asked: Asked, move: Callable[[object, Shift], object] | None = None
    ) -> Kept | None:
        """An answer that was made of what this core's memory holds as well."""
        memory = core.memory
        twin = self._twins.find(asked.twin, lambda evidence: evidence.holds(memory) or None)
        if twin is not None:
            return Kept(twin[0].answer, lambda: twin[0].evidence)
        if asked.kin is None:
            return None
        kin = self._of_kin(core, asked.kin, move)
        if kin is not None and self._twins.is_worth_noting(asked.twin):
            noting = Noting(memory, kin.evidence(), gap=asked.gap)
            self._twins.keep(asked.twin, kin.answer, noting.evidence())
        return kin

    def _of_kin(
        self, core: CoreFile, question: Hashable, move: Callable[[object, Shift], object] | None
    ) -> Kept | None:
        memory, files = core.memory, self.files(core)
        self._settle(question)
        kin = self._kin.find(question, lambda evidence: evidence.holds(memory, files))
        if kin is None:
            return None
        (answer, evidence), shift = kin
        try:
            return Kept(move(answer, shift) if move else answer, lambda: evidence.there(memory, shift))
        except Unmoved:
            return None

    def is_worth_noting(self, asked: Asked) -> bool:
        """Whether an answer to this question is to be kept."""
        return self._twins.is_worth_noting(asked.twin) or (
            asked.kin is not None and self._kin.is_worth_noting(asked.kin)
        )

    def keep(self, core: CoreFile, asked: Asked, answer: object, noting: Noting) -> None:
        """Keep an answer for twins and kin, as far as that is worth it."""
        if self._twins.is_worth_noting(asked.twin):
            self._twins.keep(asked.twin, answer, noting.evidence())
        if asked.kin is not None and self._kin.is_worth_noting(asked.kin):
            self._noted[asked.kin] = answer, noting, self.files(core)
            if len(self._noted) > _MOST_NOTED:
                self._settle(next(iter(self._noted)))

    def _settle(self, question: Hashable) -> None:
        """Make of what was noted what can be held against kin: only when there is some, and all is noted."""
        if question in self._noted:
            answer, noting, files = self._noted.pop(question)
            self._kin.keep(question, answer, movable(noting, files))
