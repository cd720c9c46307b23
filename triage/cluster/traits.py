"""Functions without a name told by what their code refers to: whom they call, what they mention.

Two builds have another address, other instructions and other copies inlined for one function, and yet it calls
the same functions and has the same texts. How much a word tells is frozen and shipped, as for names.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources

from triage import lists
from triage.cluster.normalize import function_name

_CHECKED = re.compile(r"_+(\w+)_chk")
_SIZED = re.compile(r"(_emalloc|_efree)_\w+")
_HARDENING = frozenset({"__stack_chk_fail", "__fortify_fail", "__chk_fail"})
_KEPT = 16
_UNSEEN = 0.5
_SHOWN = 2


@cache
def _table() -> tuple[int, dict[str, int]]:
    """`(functions, in how many of them a word was)`, for the words that many functions have."""
    record = json.loads(resources.files(__package__ or "").joinpath("traits.json").read_text("utf-8"))
    return record["functions"], record["words"]


@lru_cache(maxsize=1 << 16)
def weight(word: str) -> float:
    """How much a trait tells: from 0 (every function has it) to 1 (nearly none has)."""
    functions, words = _table()
    return math.log(functions / (words.get(word, 0) + _UNSEEN)) / math.log(functions / _UNSEEN)


@lru_cache(maxsize=1 << 16)
def lot(word: str) -> bytes:
    """A number drawn for a word, the same everywhere."""
    return hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()


@lru_cache(maxsize=4096)
def normal(traits: tuple[str, ...]) -> tuple[str, ...]:
    """Traits in one form for all builds: without what a compiler's hardening adds, or a size class in a name."""
    found = {word for trait in traits if (word := _normal(trait)) is not None}
    return tuple(sorted(found, key=lot)[:_KEPT])


@lru_cache(maxsize=4096)
def told_name(traits: tuple[str, ...]) -> str | None:
    """The name of a function that one of its own words gives away."""
    rewrites = lists.rewrites(__package__ or "", "told.txt")
    return next((name for pattern, name in rewrites for trait in traits if pattern.fullmatch(trait)), None)


def _normal(trait: str) -> str | None:
    kind, _, name = trait.partition(" ")
    if kind not in ("calls", "uses") or name in _HARDENING:
        return trait if name not in _HARDENING else None
    checked = _CHECKED.fullmatch(name)
    plain = _SIZED.sub(r"\1", checked[1] if checked else function_name(name))
    return f"{kind} {plain}"


@lru_cache(maxsize=1 << 14)
def overlap(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[float, float, float]:
    """`(share, evidence, part)`: the weight of what two functions have in common, as part of all, by itself, and as
    part of what the one that refers to less has.

    Of a function that refers to much, those words are kept that come first by lot: beyond the last of them
    nothing is known of it.
    """
    end = min((lot(traits[-1]) for traits in (a, b) if len(traits) == _KEPT), default=None)
    one, other = ({word for word in traits if end is None or lot(word) <= end} for traits in (a, b))
    common = sum(map(weight, one & other))
    whole = sum(map(weight, one | other))
    less = min(sum(map(weight, one)), sum(map(weight, other)))
    return (common / whole if whole else 0.0), common, (common / less if less else 0.0)


@lru_cache(maxsize=1 << 14)
def richness(traits: tuple[str, ...]) -> float:
    """How much a function's traits tell altogether."""
    return sum(map(weight, traits))


def telling(traits: Iterable[str], most: int) -> list[str]:
    """The traits that tell most; of equal ones always the same."""
    return sorted(traits, key=lambda word: (-weight(word), word))[:most]


@lru_cache(maxsize=1 << 14)
def described(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """What two functions have in common, for people: `a function without a name that calls X and mentions 'Y'`."""
    said = [_words(word) for word in telling(set(a) & set(b), _SHOWN)]
    return f"a function without a name that {' and '.join(said)}"


def _words(word: str) -> str:
    kind, _, rest = word.partition(" ")
    if kind == "begins":
        return f"mentions '{rest}…'"
    if kind == "says":
        return f"mentions '{rest}'"
    if kind == "is":
        return f"stands in the table of {rest.rstrip('0123456789').rstrip('+-')}"
    return f"{kind} {rest}"
