"""Which part of the interpreter a native function belongs to, by lists/places.txt."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources


@cache
def _places() -> dict[str, re.Pattern[str]]:
    found: dict[str, list[str]] = {}
    text = resources.files("triage.diagnose").joinpath("lists", "places.txt").read_text("utf-8")
    for line in text.splitlines():
        name, _, rest = line.split("#", 1)[0].partition(":")
        if rest.strip():
            found.setdefault(name.strip(), []).extend(part.strip() for part in rest.split(" | "))
    return {name: re.compile("|".join(f"(?:{part})" for part in parts)) for name, parts in found.items()}


@lru_cache(maxsize=1 << 14)
def in_place(function: str, place: str) -> bool:
    """Whether a function belongs to a place."""
    return _places()[place].fullmatch(function) is not None


@lru_cache(maxsize=4096)
def first_in_place(functions: tuple[str | None, ...], place: str) -> str | None:
    """The first of these functions that belongs to a place."""
    return next((function for function in functions if function and in_place(function, place)), None)
