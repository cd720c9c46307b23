"""Names of built-in functions found in one worker, for the other workers of its master."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar, overload

from triage.corefile.evidence import Evidence, Noting, Recalled
from triage.corefile.memory import CoreMemory

T = TypeVar("T")


class TwinNames(Mapping[int, str]):
    """Names by absolute start address, each looked up once for all processes whose memory says the same.

    `read` makes the names of a process from the memory it is given; `question` says which processes are alike.
    """

    def __init__(
        self,
        recalled: Recalled,
        question: Hashable,
        memory: CoreMemory,
        read: Callable[[CoreMemory], Mapping[int, str]],
    ) -> None:
        self._recalled = recalled
        self._question = question
        self._memory = memory
        self._read = read
        self._noting: Noting | None = None
        self._before: Evidence | None = None
        self._kept = 0

    @cached_property
    def _known(self) -> dict[int, str | None]:
        """What was looked up so far; `None` for an address without a name."""
        found = self._recalled.find(self._question, self._memory)
        if found is None:
            return {}
        self._before = found.evidence
        known: dict[int, str | None] = found.answer
        return known

    @cached_property
    def _names(self) -> Mapping[int, str]:
        if self._before is not None or self._recalled.is_worth_noting(self._question):
            self._noting = Noting(self._memory, self._before)
            self._kept = self._noting.count if self._before is not None else 0
        return self._read(self._noting if self._noting is not None else self._memory)

    def _look_up(self, address: int) -> str | None:
        if address not in self._known:
            self._known[address] = self._names.get(address)
            if self._noting is not None and self._noting.count != self._kept:
                self._recalled.keep(self._question, self._known, self._noting.evidence())
                self._kept = self._noting.count
        return self._known[address]

    @overload
    def get(self, address: int, /) -> str | None: ...

    @overload
    def get(self, address: int, default: str | T, /) -> str | T: ...

    def get(self, address: int, default: str | T | None = None, /) -> str | T | None:
        found = self._look_up(address)
        return default if found is None else found

    def __getitem__(self, address: int) -> str:
        found = self._look_up(address)
        if found is None:
            raise KeyError(address)
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
