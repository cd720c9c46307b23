"""Names of built-in functions found in one process, for its twins and kin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar, cast, overload

from triage.corefile import CoreFile
from triage.corefile.evidence import Evidence, Noting
from triage.corefile.memory import CoreMemory
from triage.corefile.movable import Shift
from triage.corefile.twins import Asked, Twins

T = TypeVar("T")


class TwinNames(Mapping[int, str]):
    """Names by absolute start address, each looked up once for all processes whose memory says the same.

    `read` makes the names of a process from the memory it is given; `asked` says which processes are alike.
    """

    def __init__(
        self, twins: Twins, core: CoreFile, asked: Asked, read: Callable[[CoreMemory], Mapping[int, str]]
    ) -> None:
        self._twins = twins
        self._core = core
        self._asked = asked
        self._read = read
        self._noting: Noting | None = None
        self._before: Callable[[], Evidence] | None = None
        self._kept = 0

    @cached_property
    def _known(self) -> dict[int, str | None]:
        """What was looked up so far; `None` for an address without a name."""
        found = self._twins.find(self._core, self._asked, _moved)
        if found is None:
            return {}
        self._before = found.evidence
        return cast(dict[int, str | None], found.answer)

    @cached_property
    def _names(self) -> Mapping[int, str]:
        memory = self._core.memory
        if self._before is not None or self._twins.is_worth_noting(self._asked):
            before = self._before() if self._before is not None else None
            self._noting = Noting(memory, before)
            self._kept = self._noting.count if before is not None else 0
        return self._read(self._noting if self._noting is not None else memory)

    def _look_up(self, address: int) -> str | None:
        if address not in self._known:
            self._known[address] = self._names.get(address)
            if self._noting is not None and self._noting.count != self._kept:
                self._twins.keep(self._core, self._asked, self._known, self._noting)
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


def _moved(known: object, shift: Shift) -> object:
    return {shift.moved(address): name for address, name in cast(dict[int, str | None], known).items()}
