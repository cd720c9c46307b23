"""From which value on a setting crashes: why it shows only under load, or only with one mode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from triage.insight.narrow.items import Item

_NUMBER = re.compile(r"(-?\d+)\s*([KMGkmg]?)$")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST = 24


@dataclass(frozen=True, slots=True)
class Boundary:
    """A setting's `value` crashes, as do those up to `crashing`; `harmless` does not, nor those beyond it.

    `default` is PHP's own. For words, `crashing` and `harmless` list those that were tried.
    """

    name: str
    value: str
    default: str
    crashing: tuple[str, ...]
    harmless: tuple[str, ...]


@cache
def words() -> dict[str, tuple[str, ...]]:
    """Settings that take a word, and the words worth trying."""
    text = resources.files("triage.insight").joinpath("lists", "values.json").read_text("utf-8")
    return {name: tuple(found) for name, found in json.loads(text)["words"].items()}


def boundaries(
    needed: Sequence[Item], default: Callable[[str], str | None], crashes: Callable[[Sequence[Item]], bool]
) -> Iterator[Boundary]:
    """What is found out for each setting of a smallest set. `default` tells PHP's own value of a setting."""
    for item in needed:
        if item.loads:
            continue
        rest = [other for other in needed if other != item]
        own = default(item.name)

        def tried(value: str, item: Item = item, rest: list[Item] = rest) -> bool:
            return crashes([*rest, Item(item.name, value)])

        if item.name in words():
            yield _words(item, own or "", tried)
        elif own is not None:
            found = _numbers(item, own, tried)
            if found is not None:
                yield found


def _words(item: Item, default: str, tried: Callable[[str], bool]) -> Boundary:
    results = {value: tried(value) for value in words()[item.name] if value != item.value}
    crashing = tuple(value for value, found in results.items() if found)
    return Boundary(item.name, item.value, default, (item.value, *crashing),
                    tuple(value for value, found in results.items() if not found))  # fmt: skip


def _numbers(item: Item, default: str, tried: Callable[[str], bool]) -> Boundary | None:
    """Bisect between the value that crashes and the default, which does not (the setting was needed)."""
    bad, good = number(item.value), number(default)
    if bad is None or good is None or abs(bad - good) < 2:
        return None
    for _ in range(_MOST):
        if abs(bad - good) <= max(1, abs(bad) // 50):
            break
        middle = (bad + good) // 2
        if tried(str(middle)):
            bad = middle
        else:
            good = middle
    return Boundary(item.name, item.value, default, (str(bad),), (str(good),))


def number(text: str) -> int | None:
    """An ini number with its unit, `None` for anything else."""
    found = _NUMBER.fullmatch(text.strip())
    return int(found[1]) * _UNITS[found[2].upper()] if found else None
