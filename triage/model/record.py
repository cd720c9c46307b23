"""How a record is declared: plain data that nobody changes once it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

from triage.model.pickling import quicken

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def record(kind: type[T]) -> type[T]:
    """A dataclass with slots, made by keyword, that can be a key and is never changed.

    That nobody changes one is what the type checker sees to. Where the class itself does (`frozen=True`), making
    one takes three times as long, and a crash has hundreds.
    """
    return quicken(dataclass(slots=True, kw_only=True, unsafe_hash=True)(kind))
