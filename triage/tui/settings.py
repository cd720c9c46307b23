"""What a user may set about the interface: `[ui]`, `[keys]` and `[source_map]` of config.toml."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage.errors import UsageError
from triage.tui.actions import ACTIONS

THEMES = ("auto", "dark", "light", "ansi")
_TABLES = ("ui", "keys", "source_map", "views")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """How the interface looks and which keys it has. `source_map` turns the server's folders into local ones."""

    theme: str = "auto"
    ascii: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    source_map: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)


def config_files() -> tuple[Path, ...]:
    """Where settings are looked for; the first that exists is read. Never in the current folder: a folder full
    of foreign cores must not configure us."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "triage" / "config.toml", Path("/etc/triage/config.toml")


def read_settings(paths: Iterable[Path] | None = None) -> Ui:
    """The settings of the first file that exists, else the defaults.

    Raises:
        UsageError: for a file that is no TOML, and for a key or value that is none; says which was meant.
    """
    for path in paths if paths is not None else config_files():
        try:
            return _settings(tomllib.loads(path.read_text("utf-8")), path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {error}", help="Mend it, or move it away.") from error
    return Ui()


def _settings(found: Mapping[str, Any], path: Path) -> Ui:
    tables = {name: found.get(name, {}) for name in _TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} must be a table", help=f"Write [{name}] on a line of its own.")
    look = tables["ui"]
    _known(look, ("theme", "ascii"), path, "ui")
    _known(tables["keys"], [action.name for action in ACTIONS], path, "keys")
    for name in ("keys", "source_map", "views"):
        _texts(tables[name], path, name)
    theme, plain = look.get("theme", "auto"), look.get("ascii", False)
    if theme not in THEMES:
        raise UsageError(f"{path}: ui.theme is {theme!r}", help=f"It may be {', '.join(THEMES)}.")
    if not isinstance(plain, bool):
        raise UsageError(f"{path}: ui.ascii is {plain!r}", help="It may be true or false.")
    return Ui(
        theme=theme, ascii=plain, keys=tables["keys"], source_map=tables["source_map"], views=tables["views"]
    )  # fmt: skip


def _known(table: Mapping[str, Any], names: Iterable[str], path: Path, where: str) -> None:
    every = list(names)
    for name in table:
        if name not in every:
            close = difflib.get_close_matches(name, every, n=1)
            guess = f"Did you mean {close[0]}? " if close else ""
            raise UsageError(f"{path}: there is no {where}.{name}", help=f"{guess}Known are {', '.join(every)}.")


def _texts(table: Mapping[str, Any], path: Path, where: str) -> None:
    for name, value in table.items():
        if not isinstance(value, str):
            raise UsageError(f"{path}: {where}.{name} must be a text", help=f'Write {name} = "…".')


def local_path(file: str, source_map: Mapping[str, str]) -> Path:
    """Where a file of the server lies on this machine: the longest folder of the map that fits is exchanged."""
    for there in sorted(source_map, key=len, reverse=True):
        if file == there or file.startswith(there.rstrip("/") + "/"):
            return Path(source_map[there]).expanduser() / file[len(there) :].lstrip("/")
    return Path(file)
