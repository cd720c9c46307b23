"""Answers found in one process, for its twins: processes with files at the same addresses, as a master's workers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TypeVar, cast

from triage.corefile.core import CoreFile
from triage.corefile.evidence import Recalled

T = TypeVar("T")
_MOST_KINDS = 64


class Twins:
    """Which processes are of one kind, and what was found in them.

    A kind is told by the identity of objects that are the same for twins: `CoreFile.modules` is one.
    """

    def __init__(self) -> None:
        self.recalled = Recalled()
        self._same: dict[int, dict[Hashable, object]] = {}
        self._kinds: OrderedDict[tuple[int, ...], tuple[int, tuple[object, ...]]] = OrderedDict()
        self._count = 0

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

    def same(self, core: CoreFile, question: Hashable, work: Callable[[], T]) -> T:
        """The answer of `work`, which must depend on nothing but which files lie where."""
        answers = self._same.setdefault(self.kind(core.modules), {})
        if question not in answers:
            answers[question] = work()
        return cast(T, answers[question])

    def get(self, core: CoreFile, question: Hashable, work: Callable[[CoreFile], T], *, gap: int = 0) -> T:
        """The answer of `work` for this core; it must read all it needs from the core it is given.

        `question` says everything else that the answer depends on, the kind of process before all; `gap` is
        evidence.py's.
        """
        own = core.memory
        return self.recalled.get(
            question, own, lambda memory: work(core if memory is own else replace(core, memory=memory)), gap=gap
        )
