"""Pieces of memory that are held against another process, put together so that neighbours are read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

_GAP, _LONGEST = 4096, 1 << 16  # up to so many bytes between and over them, two pieces are sooner read at once

Piece = tuple[int, bytes]
"""An address and what is there."""


class Cluster(NamedTuple):
    """Neighbouring pieces: of the `size` bytes at `address` `parts` takes `contents`."""

    address: int
    size: int
    parts: Callable[[bytes], object]
    contents: object
    pieces: tuple[Piece, ...]


def clusters(pieces: Iterable[Piece]) -> tuple[Cluster, ...]:
    """The pieces, neighbours together."""
    return tuple(map(_cluster, _neighbours(sorted(pieces))))


def _neighbours(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    several: list[Piece] = []
    end = 0
    for address, raw in pieces:
        if several and (address > end + _GAP or address + len(raw) > several[0][0] + _LONGEST):
            yield several
            several = []
        several.append((address, raw))
        end = max(end, address + len(raw))
    if several:
        yield several


def _cluster(several: Sequence[Piece]) -> Cluster:
    start, end = several[0][0], max(address + len(raw) for address, raw in several)
    parts = itemgetter(*(slice(address - start, address - start + len(raw)) for address, raw in several))
    contents = several[0][1] if len(several) == 1 else tuple(raw for _, raw in several)
    return Cluster(start, end - start, parts, contents, tuple(several))
