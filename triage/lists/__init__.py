"""Lists of judgement kept as data files: regular expressions, one or more a line, with their reasons.

A line is `name | name | …`; what follows a `#` is the reason.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources


class Words:
    """A list of regular expressions; `in` asks whether one matches a whole name."""

    def __init__(self, text: str) -> None:
        lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
        parts = (part.strip() for line in lines if line for part in line.split(" | "))
        self._pattern = re.compile("|".join(f"(?:{part})" for part in parts))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._pattern.fullmatch(name) is not None


@cache
def words(package: str, file: str) -> Words:
    """The list in `PACKAGE/lists/FILE`, read once."""
    return Words(resources.files(package).joinpath("lists", file).read_text("utf-8"))


def is_bundled(extension: str) -> bool:
    """Whether an extension comes with PHP itself."""
    return extension.lower() in words("triage", "bundled.txt")


def is_observer(extension: str) -> bool:
    """Whether an extension only watches: debuggers, profilers, monitoring."""
    return extension.lower() in words("triage", "observers.txt")
