"""What is narrowed: single ini lines and extensions, and how they become a command line again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triage import redact
from triage.errors import UsageError
from triage.model import Runtime

_LINE = re.compile(r"^\s*([A-Za-z_][\w.\-]*)\s*=\s*(.*?)\s*$")
_PLAIN = re.compile(r"[\w./:,+\-]*")
_EXPRESSION = re.compile(r"[A-Z_0-9 &|~^()]+")
_LOADS = ("extension", "zend_extension")
_SECONDS = 20
_ZEND = frozenset({"zend opcache", "xdebug", "ioncube loader"})


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One ini line. `loads` tells that it loads an extension, whose lines go first."""

    name: str
    value: str

    @property
    def loads(self) -> bool:
        """Whether it loads an extension."""
        return self.name in _LOADS

    @property
    def text(self) -> str:
        """`name=value`."""
        return f"{self.name}={self.value}"

    @property
    def argument(self) -> str:
        """For PHP's -d, which reads an ini line: quoted where its syntax would end the value, or all that follow."""
        quote = "'" if '"' in self.value else '"'
        plain = _PLAIN.fullmatch(self.value) is not None or _EXPRESSION.fullmatch(self.value) is not None
        return self.text if plain else f"{self.name}={quote}{self.value}{quote}"


@dataclass(frozen=True, slots=True)
class Command:
    """A PHP command line taken apart: the program, its ini lines, and the rest."""

    program: str
    items: tuple[Item, ...]
    rest: tuple[str, ...]
    bare: bool

    def argv(self, items: Iterable[Item]) -> list[str]:
        """The command with these items only, and no ini file."""
        argv = [self.program, "-n"]
        for item in sorted(items, key=lambda one: not one.loads):
            argv += ["-d", item.argument]
        return [*argv, *self.rest]


def parse(argv: Sequence[str]) -> Command:
    """Take a PHP command line apart.

    Raises:
        UsageError: when nothing is left to run.
    """
    if not argv:
        raise UsageError("no command was given", help="triage narrow -- php script.php")
    items, rest, bare = [], list(argv[1:]), False
    while rest and rest[0].startswith("-") and rest[0] != "--":
        word = rest.pop(0)
        if word == "-n":
            bare = True
        elif word.startswith("-d"):
            text = word[2:] or (rest.pop(0) if rest else "")
            name, _, value = text.partition("=")
            items.append(Item(name.strip(), value if _ else "1"))
        else:
            rest.insert(0, word)
            break
    if not rest:
        raise UsageError("the command runs no script", help="triage narrow -- php [-d name=value …] script.php")
    return Command(argv[0], tuple(items), tuple(rest), bare)


def from_files(command: Command) -> tuple[Item, ...]:
    """The lines of the ini files this PHP reads, and the command's own, later ones in place of earlier ones.

    Raises:
        UsageError: when the program is no PHP.
    """
    if command.bare:
        return merged(command.items)
    code = "echo php_ini_loaded_file(), ',', php_ini_scanned_files();"
    try:
        done = subprocess.run([command.program, "-r", code], capture_output=True, timeout=_SECONDS, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{command.program} cannot be run as PHP: {error}") from error
    if done.returncode:
        raise UsageError(f"{command.program} is no PHP command: it does not know -r")
    names = [name.strip() for name in done.stdout.decode("utf-8", "replace").split(",")]
    lines = [item for name in names if name for item in _lines(Path(name))]
    return merged([*lines, *command.items])


def _lines(path: Path) -> Iterator[Item]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return  # PHP could not read it either
    for line in text.splitlines():
        plain = line.split(";", 1)[0] if '"' not in line else line
        found = _LINE.match(plain)
        if found and not line.lstrip().startswith((";", "[")):
            yield Item(found[1], found[2].strip('"'))


def merged(items: Iterable[Item]) -> tuple[Item, ...]:
    """Each setting once, the last value; each extension once."""
    kept: dict[tuple[str, str], Item] = {}
    for item in items:
        kept[item.name, item.value if item.loads else ""] = item
    return tuple(kept.values())


def from_crash(runtime: Runtime, command: Command) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """`(items, what is missing)`: the configuration a core recorded, and the command's own lines."""
    found, missing = [], []
    for name, file in runtime.extension_files.items():
        found.append(Item("zend_extension" if name.lower() in _ZEND else "extension", file))
    for name, value in runtime.options.items():
        if value == redact.HIDDEN or redact.HIDDEN in (value or ""):
            missing.append(f"{name} (its value is hidden)")
        else:
            found.append(Item(name, value or ""))
    return merged([*found, *command.items]), tuple(missing)
