"""The files that hold PHP and its extensions in one process, and addresses in them without the place they lie at.

What depends on the builds alone is the same in every process of them but for where each file was put.
It is learned from one core and held against the next one's memory before it is used there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from operator import add
from typing import NamedTuple

from triage.corefile import CoreFile
from triage.corefile.movable import Files
from triage.corefile.twins import Twins
from triage.runtimes.php.globals import Php

Spot = tuple[int, int]
"""`(which file, distance from where it begins)`; `(-1, value)` for a value that is no address in any of them."""


class Builds(NamedTuple):
    """PHP's own file, then all others of the process whose build the core tells; `key` says which builds they are."""

    key: tuple[tuple[str, str], ...]
    bases: tuple[int, ...]
    ends: tuple[int, ...]

    def spots(self, addresses: Iterable[int]) -> list[Spot]:
        """Each address as a spot."""
        order, starts = _by_address(self.bases)
        found = []
        for address in addresses:
            before = bisect_right(starts, address) - 1
            at = order[before] if before >= 0 else -1
            inside = at >= 0 and address < self.ends[at]
            found.append((at, address - self.bases[at]) if inside else (-1, address))
        return found

    def addresses(self, spots: Iterable[Spot]) -> list[int]:
        """The reverse of `spots`."""
        bases = (*self.bases, 0)  # -1 is the last of them
        return [bases[at] + distance for at, distance in spots]


@lru_cache(maxsize=8)
def _by_address(bases: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """`(places of the bases in the order of addresses, the bases in that order)`."""
    order = sorted(range(len(bases)), key=bases.__getitem__)
    return order, [bases[at] for at in order]


class _Alike(NamedTuple):
    """What is the same in all processes with the same files: `key` as of `Builds`, and which of the files these are.

    `lengths` are the distances of their ends from their bases.
    """

    key: tuple[tuple[str, str], ...]
    numbers: tuple[int, ...]
    lengths: tuple[int, ...]


def builds_of(core: CoreFile, php: Php, twins: Twins) -> Builds | None:
    """The files of this process, `None` when the core does not tell PHP's own build."""
    if php.module.build_id is None:
        return None
    files = twins.files(core)
    own = files.modules.index(php.module)
    key, numbers, lengths = twins.alike(core, ("builds", own), lambda alike: _alike(alike, own))
    bases = tuple([files.bases[number] for number in numbers])
    return Builds(key, bases, tuple(map(add, bases, lengths)))


def _alike(files: Files, own: int) -> _Alike:
    others = [n for n, (_, build_id, *_) in enumerate(files.same) if build_id and n != own]
    numbers = (own, *others)
    known = [files.same[number] for number in numbers]
    return _Alike(
        key=tuple((path, build_id or "") for path, build_id, *_ in known),
        numbers=numbers,
        lengths=tuple(end for *_, end in known),
    )
