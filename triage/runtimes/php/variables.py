"""What a request brought with it, told without what it said: names of its variables, types and lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from triage import redact
from triage.runtimes.php.globals import Php
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.values import Values

_ARRAYS = {"_POST": 0, "_GET": 1, "_COOKIE": 2, "_SERVER": 3, "_FILES": 5}
"""Places in PG(http_globals). $_ENV is left out: the environment is read elsewhere."""
_MOST = 200


def tables(reader: Reader, php: Php) -> dict[str, int]:
    """The addresses of the tables there are, by name: `_SERVER` only once the script or PHP has asked for it."""
    at = php.address("core_globals")
    if at is None:
        return {}
    values = reader.values(at + reader.layout.offset("core_globals", "http_globals"), max(_ARRAYS.values()) + 1)
    array = reader.layout.constant("IS_ARRAY")
    found = {name: values[place] for name, place in _ARRAYS.items()}
    return {
        name: value.payload
        for name, value in found.items()
        if value is not None and value.type == array and value.payload % 8 == 0
    }


def variables(reader: Reader, brought: Mapping[str, int]) -> dict[str, str]:
    """`{"_GET[id]": "string(2)"}` and so on; values only of variables known to hold no secret."""
    found: dict[str, str] = {}
    for name, table in brought.items():
        found.update(_described(reader, name, table))
    return found


def _described(reader: Reader, array: str, table: int) -> Iterator[tuple[str, str]]:
    values = Values(reader)
    for at, element in enumerate(reader.first(table)[:_MOST]):
        key, harmless = _key(element.key) if element.key is not None else (str(at), False)
        text = reader.text_value(element.value) if harmless and array == "_SERVER" else None
        yield f"{array}[{key}]", redact.text(text) if text is not None else values.type(element.value)


@lru_cache(maxsize=4096)
def _key(name: str) -> tuple[str, bool]:
    """A key as it may be shown, and whether its value may be as well where the server gave it."""
    shown = redact.text(name)
    return shown, redact.is_harmless(shown)


def environment(found: Mapping[str, str]) -> dict[str, str]:
    """The environment with the values of all but harmless variables replaced by their lengths, by name."""
    return dict(_shown(tuple(found.items())))


@lru_cache(maxsize=64)  # one after the other has the same
def _shown(found: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    several = sorted(dict(found).items())[:_MOST]
    return tuple((redact.text(name), redact.variable(name, value)) for name, value in several)
