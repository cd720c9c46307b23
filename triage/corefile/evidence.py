"""What was found in memory, kept with the memory it was found in, for the next process that has the very same.

The workers of one master are copies of it: most of what one has in memory lies in the next at the same addresses.
Where every byte that an answer was made of is there again, the answer is the same, and making it again is
needless. One byte that differs, and it is made anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from triage.corefile.memory import CoreMemory
from triage.corefile.pieces import Cluster, Piece, clusters
from triage.corefile.protocol import Region

T = TypeVar("T")
_MOST_BYTES = 12 << 20
_MOST_OF_A_KIND = 6
_IN_VAIN = 8
_MOST_KINDS = 512


@dataclass(frozen=True)
class Evidence:
    """What was read: `pieces` are `(address, bytes)`, `lacking` reads without an answer.

    `told` are answers to questions: `(function of the memory and what was asked, what was asked, answer)`.
    """

    pieces: tuple[Piece, ...]
    lacking: tuple[tuple[int, int], ...]
    told: tuple[tuple[Callable[..., object], tuple[Hashable, ...], object], ...]

    def holds(self, memory: CoreMemory) -> bool:
        """Whether another process's memory gives the very same answers."""
        if not memory.agrees(self._clusters):
            return False
        return all(memory.read(*one) is None for one in self.lacking) and all(
            question(memory, *asked) == answer for question, asked, answer in self.told
        )

    @cached_property
    def _clusters(self) -> tuple[Cluster, ...]:
        return clusters(self.pieces)

    @property
    def size(self) -> int:
        """Bytes it takes to keep, about."""
        return sum(len(raw) + 300 for _, raw in self.pieces) + 100 * (len(self.lacking) + len(self.told))


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
        self._read = {(at, len(raw)): raw for at, raw in before.pieces} if before else {}
        self._lacking = set(before.lacking) if before else set()
        told = before.told if before else ()
        self._told = {(name, asked): answer for name, asked, answer in told}

    def read(self, address: int, size: int) -> bytes | None:
        found = super().read(address, size)
        if found is None:
            self._lacking.add((address, size))
        else:
            self._read[address, size] = found
        return found

    def note(self, addresses: Iterable[int], size: int) -> None:
        for address in addresses:
            self.read(address, size)

    def ask(self, question: Callable[..., T], *asked: Hashable) -> T:
        answer = question(self.plain, *asked)
        self._told[question, asked] = answer
        return answer

    def dumped(self, address: int, size: int) -> bytes | None:
        return self.ask(CoreMemory.dumped, address, size)

    def is_dumped(self, start: int, end: int) -> bool:
        return self.ask(CoreMemory.is_dumped, start, end)

    def dumped_among(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        return self.ask(CoreMemory.dumped_among, tuple(ranges))

    def region_at(self, address: int) -> Region | None:
        return self.ask(CoreMemory.region_at, address)

    def region_after(self, address: int) -> Region | None:
        return self.ask(CoreMemory.region_after, address)

    def regions(self) -> list[Region]:
        return self.ask(CoreMemory.regions)

    @property
    def count(self) -> int:
        """How many notes there are."""
        return len(self._read) + len(self._lacking) + len(self._told)

    @property
    def answers(self) -> dict[tuple[int, int], bytes]:
        """What was read, by `(address, size)`."""
        return self._read

    @property
    def lacking(self) -> tuple[tuple[int, int], ...]:
        """The same of reads without an answer."""
        return tuple(self._lacking)

    @property
    def told(self) -> tuple[tuple[Callable[..., object], tuple[Hashable, ...], object], ...]:
        """As `Evidence` has it."""
        return tuple((name, asked, answer) for (name, asked), answer in self._told.items())

    def evidence(self) -> Evidence:
        """All that was answered so far."""
        return Evidence(tuple(self._pieces()), self.lacking, self.told)

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        spans = sorted(self._read)
        for start, end in joined(spans, self._gap):
            raw = super().read(start, end - start)
            if raw is not None:
                yield start, raw
                continue
            for at, size in spans:  # what lies between is not all there
                if start <= at < end:
                    yield at, self._read[at, size]


def joined(spans: Sequence[tuple[int, int]], gap: int) -> Iterator[tuple[int, int]]:
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


E = TypeVar("E", bound="Keepable")
M = TypeVar("M")


class Keepable(Protocol):
    """What an answer was made of, in whatever form."""

    @property
    def size(self) -> int:
        """Bytes it takes to keep, about."""
        ...


class Found(NamedTuple, Generic[E]):
    """An answer and what it was made of."""

    answer: Any
    evidence: E


@dataclass(slots=True)
class _Kind(Generic[E]):
    """Answers to one question, the one that held last first; how often it was asked, and noted in vain."""

    found: list[Found[E]] = field(default_factory=list)
    asked: int = 0
    in_vain: int = 0


class Recalled(Generic[E]):
    """Answers by question, each with its evidence."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Kind[E]] = OrderedDict()
        self._bytes = 0

    def find(self, question: Hashable, holds: Callable[[E], M | None]) -> tuple[Found[E], M] | None:
        """An answer whose evidence `holds`, and what that said."""
        kind = self._kinds.setdefault(question, _Kind())
        self._kinds.move_to_end(question)
        kind.asked += 1
        for at, one in enumerate(kind.found):
            said = holds(one.evidence)
            if said is not None:
                kind.found.insert(0, kind.found.pop(at))
                kind.in_vain = 0
                return one, said
        self._forget()
        return None

    def is_worth_noting(self, question: Hashable) -> bool:
        """Whether an answer to this question is to be kept: it came before, and what was kept was of use.

        Nothing is noted when a question comes for the first time: most processes have no twin.
        """
        kind = self._kinds.get(question)
        return kind is not None and kind.asked > 1 and kind.in_vain < _IN_VAIN

    def keep(self, question: Hashable, answer: object, evidence: E | None) -> None:
        """Keep an answer, in place of the same object with less evidence; the oldest ones are forgotten.

        Without evidence, or with too much of it, the answer was noted in vain.
        """
        kind = self._kinds.setdefault(question, _Kind())
        if kind.found and kind.found[0].answer is answer:
            self._bytes -= kind.found.pop(0).evidence.size
        else:
            kind.in_vain += 1
        if evidence is None or evidence.size > _MOST_BYTES // 4:
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


def recall(
    recalled: Recalled[Evidence],
    question: Hashable,
    memory: CoreMemory,
    work: Callable[[CoreMemory], T],
    *,
    gap: int = 0,
) -> T:
    """The answer of `work`, which must depend on the memory it is given and on the question alone."""
    found = recalled.find(question, lambda evidence: evidence.holds(memory) or None)
    if found is not None:
        return cast(T, found[0].answer)
    if not recalled.is_worth_noting(question):
        return work(memory)
    noting = Noting(memory, gap=gap)
    answer = work(noting)
    recalled.keep(question, answer, noting.evidence())
    return answer
