"""Choosing among places an interpreter may be in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def first_read(found: Iterable[T | str | None]) -> T | str | None:
    """The first that could be read; else the first sentence that says why not; `None` when nothing is there."""
    reason: str | None = None
    for item in found:
        if isinstance(item, str):
            reason = reason or item
        elif item is not None:
            return item
    return reason
