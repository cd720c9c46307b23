"""The files in which a php-fpm pool is configured, read only far enough to name the right line."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_SECTION = re.compile(r"\s*\[([^\]]+)\]")
_SETTING = re.compile(r"\s*([\w.]+(?:\[[^\]]*\])?)\s*=\s*(.*?)\s*(?:;.*)?$")
_DEEP = 5


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool: the file its section is in, and its settings as written."""

    name: str
    file: str
    settings: dict[str, str] = field(default_factory=dict)


def pools(configuration: Path) -> dict[str, Pool]:
    """Every pool by name, from php-fpm's own file and those it includes; empty when they cannot be read."""
    found: dict[str, Pool] = {}
    section = "global"
    for file, line in _lines(configuration, 0):
        head = _SECTION.match(line)
        if head:
            section = head[1]
            if section != "global":
                found.setdefault(section, Pool(section, str(file)))
            continue
        setting = _SETTING.match(line)
        if setting and section in found:
            found[section].settings[setting[1]] = setting[2].strip("\"'")
    return found


def _lines(file: Path, depth: int) -> Iterator[tuple[Path, str]]:
    with suppress(OSError):
        for line in file.read_text(errors="replace").splitlines():
            if line.lstrip().startswith((";", "#")):
                continue
            setting = _SETTING.match(line)
            if setting and setting[1] == "include" and depth < _DEEP:
                for name in sorted(glob.glob(setting[2].strip("\"'"))):  # noqa: PTH207 — absolute patterns
                    yield from _lines(Path(name), depth + 1)
            else:
                yield file, line


def on(text: str | None) -> bool:
    """Whether a setting is switched on, as php-fpm reads it."""
    return (text or "").lower() in ("1", "yes", "on", "true")
