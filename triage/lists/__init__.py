"""Lists of judgement kept as data files: regular expressions, one or more a line, with their reasons.

A line is `name | name | …`, or `pattern => replacement` in a list of rewrites; what follows a `#` is
the reason. The user's own lines, in files of the same names, come after those that are shipped.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from pathlib import Path

_COMMENT = re.compile(r"(?:^|\s)#.*")
_own: list[Path] = []


class Words:
    """A list of regular expressions; `in` asks whether one matches a whole name."""

    def __init__(self, text: str) -> None:
        parts = (part.strip() for line in _lines(text) for part in line.split(" | "))
        self._pattern = re.compile("|".join(f"(?:{part})" for part in parts))
        self._known: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        known = self._known.get(name)
        if known is None:
            known = self._pattern.fullmatch(name) is not None
            if len(self._known) < _REMEMBERED:
                self._known[name] = known
        return known


_REMEMBERED = 20_000


def use_folder(folder: Path) -> str | None:
    """Add the lines of the user's own lists in `folder`, for this process. A list that is not there adds none.

    Returns what is wrong with them; they are not used then.
    """
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
        try:
            for line in _lines(path.read_text("utf-8")):
                for part in [line.partition("=>")[0]] if "=>" in line else line.split(" | "):
                    re.compile(part.strip())
        except (OSError, UnicodeDecodeError) as error:
            return f"{path} cannot be read: {error}"
        except re.error as error:
            return f"a pattern in {path} cannot be understood: {error}: {error.pattern!r}"
    _own[:] = [folder]
    for cached in (words, rewrites):
        cached.cache_clear()
    return None


@cache
def words(package: str, file: str) -> Words:
    """The list in `PACKAGE/lists/FILE`, read once."""
    return Words(_text(package, file))


@cache
def rewrites(package: str, file: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The rewrites in `PACKAGE/lists/FILE` in their order: what to find, what to put in its place."""
    found = []
    for line in _lines(_text(package, file)):
        pattern, _, replacement = line.partition("=>")
        found.append((re.compile(pattern.strip()), replacement.strip()))
    return tuple(found)


def fingerprint(package: str, *files: str) -> str:
    """Sixteen hex digits that change when a list does."""
    whole = "\0".join(_text(package, file) for file in files)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def is_bundled(extension: str) -> bool:
    """Whether an extension comes with PHP itself."""
    return extension.lower() in words("triage", "bundled.txt")


def is_observer(extension: str) -> bool:
    """Whether an extension only watches: debuggers, profilers, monitoring."""
    return extension.lower() in words("triage", "observers.txt")


def _text(package: str, file: str) -> str:
    shipped = resources.files(package).joinpath("lists", file).read_text("utf-8")
    own = (folder / file for folder in _own)
    return "\n".join([shipped, *(path.read_text("utf-8") for path in own if path.is_file())])


def _lines(text: str) -> list[str]:
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return [line for line in lines if line]
