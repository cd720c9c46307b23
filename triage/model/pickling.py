"""Records on their way between processes: a crash has a thousand of them.

What dataclasses bring for frozen records with slots asks each record for its list of fields, on both
ways. Here the list is made once a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def quicken(cls: type[T]) -> type[T]:
    """Let this dataclass (with slots) be pickled and unpickled field by field, without asking anew."""
    names = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
    if len(names) > 1:
        setattr(cls, "__getstate__", _getter(names))  # noqa: B010 — a type checker may not see it replaced
        setattr(cls, "__setstate__", _setter(cls, names))  # noqa: B010
    return cls


def _getter(names: tuple[str, ...]) -> Callable[[object], Any]:
    values = attrgetter(*names)
    return lambda self: values(self)


def _setter(cls: type, names: tuple[str, ...]) -> Callable[[object, tuple[Any, ...]], None]:
    setters = tuple(getattr(cls, name).__set__ for name in names)

    def setstate(self: object, state: tuple[Any, ...]) -> None:
        for put, value in zip(setters, state, strict=True):
            put(self, value)

    return setstate
