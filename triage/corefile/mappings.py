"""Which file was mapped where: the lines of NT_FILE, column by column."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, compress, groupby, islice, pairwise
from operator import ne
from struct import unpack_from
from sys import intern
from typing import NamedTuple, overload

_HEAD, _LINE = 16, 24
_MOST = 10_000_000


class FileMapping(NamedTuple):
    """One line of NT_FILE: a mapped range and the file behind it. `offset` in bytes."""

    start: int
    end: int
    offset: int
    path: str


Group = tuple[str, int, int]
"""Neighbouring mappings that are of one file: its path, the number of the first and the number behind the last."""


class Mappings(Sequence[FileMapping]):
    """Mapped files by address, as columns: a process has hundreds, and of most of them little is asked.

    `starts` and `ends` in bytes, `offsets` in units of `unit` bytes.
    """

    def __init__(
        self, starts: list[int], ends: list[int], offsets: list[int], groups: Sequence[Group], unit: int = 1
    ) -> None:
        self.starts = starts
        self._ends = ends
        self._offsets = offsets
        self._unit = unit
        self.groups = groups

    @cached_property
    def _firsts(self) -> list[int]:
        return [first for _, first, _ in self.groups]

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> FileMapping: ...

    @overload
    def __getitem__(self, index: slice) -> list[FileMapping]: ...

    def __getitem__(self, index: int | slice) -> FileMapping | list[FileMapping]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        start, end, offset = self.starts[index], self._ends[index], self._offsets[index] * self._unit
        group = bisect_right(self._firsts, index if index >= 0 else index + len(self)) - 1
        return FileMapping(start, end, offset, self.groups[group][0])

    def at(self, address: int) -> FileMapping | None:
        """The mapping that covers `address`."""
        index = bisect_right(self.starts, address) - 1
        return self[index] if index >= 0 and address < self._ends[index] else None

    def starting(self, *beginnings: str) -> list[int]:
        """Where files lie whose paths begin so, lowest first."""
        groups = [(first, stop) for path, first, stop in self.groups if path.startswith(beginnings)]
        return [start for first, stop in groups for start in self.starts[first:stop]]

    def runs(self) -> list[tuple[str, int, int]]:
        """Neighbouring mappings of one file, from its beginning on: `(path, start, end)`.

        A second load of a file begins at offset 0 again.
        """
        starts, ends, offsets = self.starts, self._ends, self._offsets
        found = [(path, starts[first], ends[stop - 1]) for path, first, stop in self.groups if not offsets[first]]
        if len(found) == offsets.count(0):
            return found
        found = []
        for path, first, stop in self.groups:
            begun = [at for at in range(first, stop) if not offsets[at]]
            found += [(path, starts[at], ends[behind - 1]) for at, behind in pairwise([*begun, stop])]
        return found


def mappings_of(files: Sequence[FileMapping]) -> Mappings:
    """Mappings that were read one by one."""
    if isinstance(files, Mappings):
        return files
    return _in_order(files)


def _in_order(files: Iterable[FileMapping]) -> Mappings:
    rows = sorted(files)
    starts, ends, offsets = [row.start for row in rows], [row.end for row in rows], [row.offset for row in rows]
    counts = [(path, len(list(own))) for path, own in groupby(row.path for row in rows)]
    stops = accumulate(count for _, count in counts)
    return Mappings(
        starts, ends, offsets, [(path, stop - count, stop) for (path, count), stop in zip(counts, stops, strict=True)]
    )


def read_mappings(note: bytes) -> Mappings | None:
    """Those in the body of an NT_FILE note, `None` when it is damaged."""
    if len(note) < _HEAD:
        return None
    count, page = unpack_from("<QQ", note)
    names_at = _HEAD + count * _LINE
    if count > _MOST or names_at > len(note):
        return None
    groups = _groups(note[names_at:], count)
    if groups is None:
        return None
    words = array("Q", note[_HEAD:names_at])
    starts, ends, pages = (words[at::3].tolist() for at in range(3))
    found = Mappings(starts, ends, pages if page else [0] * count, groups, page)
    return found if sorted(starts) == starts else _in_order(found)


def _groups(names: bytes, count: int) -> list[Group] | None:
    """The files that the first `count` of these texts name, `None` when there are fewer texts."""
    texts = names.split(b"\0", count)
    if len(texts) < count:
        return None
    del texts[count:]
    if not texts:
        return []
    # Each file has several mappings, one after the other.
    changes = [0, *compress(range(1, count), map(ne, texts, islice(texts, 1, None)))]
    paths = b"\0".join([texts[at] for at in changes]).decode("utf-8", "surrogateescape").split("\0")
    return list(zip(map(intern, paths), changes, (*changes[1:], count), strict=True))
