"""What was found in memory, kept with the memory it was found in, for the next process that has the very same.

The workers of one master are copies of it: most of what one has in memory lies in the next at the same addresses.
Where every byte that an answer was made of is there again, the answer is the same, and making it again is
needless. One byte that differs, and it is made anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from triage.corefile.memory import CoreMemory
from triage.corefile.protocol import Region

T = TypeVar("T")
_MOST_BYTES = 12 << 20
_MOST_OF_A_KIND = 6
_IN_VAIN = 8
_MOST_KINDS = 512


class Evidence(NamedTuple):
    """What was read: `pieces` are `(address, bytes)`, `lacking` reads without an answer.

    `told` are answers to questions: `(function of the memory and what was asked, what was asked, answer)`.
    """

    pieces: tuple[tuple[int, bytes], ...]
    lacking: tuple[tuple[int, int], ...]
    told: tuple[tuple[Callable[..., object], tuple[Hashable, ...], object], ...]

    def holds(self, memory: CoreMemory) -> bool:
        """Whether another process's memory gives the very same answers."""
        if not memory.agrees(self.pieces):
            return False
        return all(memory.read(*one) is None for one in self.lacking) and all(
            question(memory, *asked) == answer for question, asked, answer in self.told
        )

    @property
    def size(self) -> int:
        """Bytes it takes to keep, about."""
        return sum(len(raw) + 100 for _, raw in self.pieces) + 100 * (len(self.lacking) + len(self.told))


class Noting(CoreMemory):
    """A core's memory that notes what it answers."""

    notes = True

    def __init__(self, memory: CoreMemory, before: Evidence | None = None, *, gap: int = 0) -> None:
        """`before` is evidence that holds for this memory: what comes of both is noted.

        What lies in gaps of so many bytes at most between what was read is noted as well: few long pieces
        are compared sooner than many short ones, but what nobody read may differ.
        """
        vars(self).update(vars(memory))
        self.plain = memory
        """The same memory without notes."""
        self._gap = gap
        self._spans = {(at, len(raw)) for at, raw in before.pieces} if before else set()
        self._lacking = set(before.lacking) if before else set()
        told = before.told if before else ()
        self._told = {(name, asked): answer for name, asked, answer in told}

    def read(self, address: int, size: int) -> bytes | None:
        found = super().read(address, size)
        (self._lacking if found is None else self._spans).add((address, size))
        return found

    def note(self, addresses: Iterable[int], size: int) -> None:
        self._spans.update((address, size) for address in addresses)

    def ask(self, question: Callable[..., T], *asked: Hashable) -> T:
        answer = question(self.plain, *asked)
        self._told[question, asked] = answer
        return answer

    def dumped(self, address: int, size: int) -> bytes | None:
        return self.ask(CoreMemory.dumped, address, size)

    def is_dumped(self, start: int, end: int) -> bool:
        return self.ask(CoreMemory.is_dumped, start, end)

    def region_at(self, address: int) -> Region | None:
        return self.ask(CoreMemory.region_at, address)

    def region_after(self, address: int) -> Region | None:
        return self.ask(CoreMemory.region_after, address)

    def regions(self) -> list[Region]:
        return self.ask(CoreMemory.regions)

    @property
    def count(self) -> int:
        """How many notes there are."""
        return len(self._spans) + len(self._lacking) + len(self._told)

    def evidence(self) -> Evidence:
        """All that was answered so far."""
        pieces = tuple(self._pieces())
        told = tuple((name, asked, answer) for (name, asked), answer in self._told.items())
        return Evidence(pieces, tuple(self._lacking), told)

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        for start, end in _joined(sorted(self._spans), self._gap):
            raw = super().read(start, end - start)
            if raw is not None:
                yield start, raw
                continue
            for at, size in sorted(self._spans):  # what lies between is not all there
                if start <= at < end:
                    yield at, super().read(at, size) or b""


def _joined(spans: Sequence[tuple[int, int]], gap: int) -> Iterator[tuple[int, int]]:
    """Stretches that cover all spans, `(start, end)`, each with what lies in short gaps."""
    start = end = 0
    for at, size in spans:
        if at > end + gap or end == start == 0:
            if end > start:
                yield start, end
            start, end = at, at + size
        else:
            end = max(end, at + size)
    if end > start:
        yield start, end


class Found(NamedTuple):
    """An answer and what it was made of."""

    answer: Any
    evidence: Evidence


@dataclass(slots=True)
class _Kind(Generic[T]):
    """Answers to one question, the one that held last first; how often it was asked, and noted in vain."""

    found: list[Found] = field(default_factory=list)
    asked: int = 0
    in_vain: int = 0


class Recalled:
    """Answers by question, for all processes whose files lie at the same addresses."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Kind[Any]] = OrderedDict()
        self._bytes = 0

    def get(self, question: Hashable, memory: CoreMemory, work: Callable[[CoreMemory], T], *, gap: int = 0) -> T:
        """The answer of `work`, which must depend on the memory it is given and on the question alone.

        Nothing is noted when a question comes for the first time: most processes have no twin.
        """
        found = self.find(question, memory)
        if found is not None:
            return found.answer  # type: ignore[no-any-return]
        if not self.is_worth_noting(question):
            return work(memory)
        noting = Noting(memory, gap=gap)
        answer = work(noting)
        self.keep(question, answer, noting.evidence())
        return answer

    def find(self, question: Hashable, memory: CoreMemory) -> Found | None:
        """An answer that was made of what this memory holds as well."""
        kind = self._kinds.setdefault(question, _Kind())
        self._kinds.move_to_end(question)
        kind.asked += 1
        for at, one in enumerate(kind.found):
            if one.evidence.holds(memory):
                kind.found.insert(0, kind.found.pop(at))
                kind.in_vain = 0
                return one
        self._forget()
        return None

    def is_worth_noting(self, question: Hashable) -> bool:
        """Whether an answer to this question is to be kept: it came before, and what was kept was of use."""
        kind = self._kinds.get(question)
        return kind is not None and kind.asked > 1 and kind.in_vain < _IN_VAIN

    def keep(self, question: Hashable, answer: object, evidence: Evidence) -> None:
        """Keep an answer, in place of the same object with less evidence; the oldest ones are forgotten."""
        kind = self._kinds.setdefault(question, _Kind())
        if kind.found and kind.found[0].answer is answer:
            self._bytes -= kind.found.pop(0).evidence.size
        else:
            kind.in_vain += 1
        if evidence.size > _MOST_BYTES // 4:
            kind.in_vain = _IN_VAIN
            return
        kind.found.insert(0, Found(answer, evidence))
        self._bytes += evidence.size
        while len(kind.found) > _MOST_OF_A_KIND:
            self._bytes -= kind.found.pop().evidence.size
        self._forget()

    def _forget(self) -> None:
        """Let go of the questions that were not asked for the longest time."""
        while len(self._kinds) > _MOST_KINDS or (self._bytes > _MOST_BYTES and len(self._kinds) > 1):
            _, gone = self._kinds.popitem(last=False)
            self._bytes -= sum(one.evidence.size for one in gone.found)
