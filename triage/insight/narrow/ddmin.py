"""Delta debugging over a list, for tests that may be wrong now and then.

Zeller and Hildebrandt 2002, complements only after the first round's subsets; then every item left is tried alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import ceil, log
from typing import TypeVar

Item = TypeVar("Item")


def ddmin(items: Sequence[Item], crashes: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """A smallest list (no single item can go) for which `crashes` holds; it is taken to hold for `items`."""
    kept, parts = list(items), 2
    while len(kept) >= 2:
        chunks = _split(kept, parts)
        smaller = _one_of(chunks, crashes) if parts < len(kept) or len(kept) == 2 else None
        if smaller is not None:
            kept, parts = smaller, 2
            continue
        rest = _without_one(kept, chunks, crashes) if parts > 2 else None
        if rest is not None:
            kept, parts = rest, max(parts - 1, 2)
        elif parts >= len(kept):
            break
        else:
            parts = min(parts * 2, len(kept))
    if len(kept) == 1 and crashes([]):
        return []
    return kept


def _split(items: Sequence[Item], parts: int) -> list[list[Item]]:
    size = len(items) / parts
    cuts = [round(size * at) for at in range(parts + 1)]
    return [list(items[a:b]) for a, b in pairwise(cuts) if a < b]


def _one_of(chunks: Sequence[list[Item]], crashes: Callable[[Sequence[Item]], bool]) -> list[Item] | None:
    return next((chunk for chunk in chunks if crashes(chunk)), None)


def _without_one(
    items: Sequence[Item], chunks: Sequence[list[Item]], crashes: Callable[[Sequence[Item]], bool]
) -> list[Item] | None:
    at = 0
    for chunk in chunks:
        rest = [*items[:at], *items[at + len(chunk) :]]
        at += len(chunk)
        if crashes(rest):
            return rest
    return None


def tries(chance: float, error: float) -> int:
    """How often to run until a crash of probability `chance` has shown itself but for a probability `error`."""
    return 1 if chance >= 1 - error else max(1, ceil(log(error) / log(1 - chance)))
