"""The crashes the demo makes, and with which interpreter each is made."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MIB = 1 << 20
_STACK = 1 * _MIB  # a small stack: endless recursion ends at once and its core stays small
_JIT = (
    *("-d", "opcache.enable_cli=1", "-d", "opcache.memory_consumption=16", "-d", "opcache.interned_strings_buffer=2"),
    *("-d", "opcache.jit_buffer_size=16M", "-d", "opcache.jit=1205"),
)
_ENDLESS = ("-d", "zend.max_allowed_stack_size=-1")  # PHP 8.3 and newer would stop by itself
_FFI = ("-d", "ffi.enable=1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One crash: a script of `demo/php` with what it is run with. `needs` are PHP extensions."""

    name: str
    script: str
    story: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    oldest: tuple[int, int] = (7, 4)
    stack: int | None = None


@dataclass(frozen=True, slots=True)
class Php:
    """A PHP command line interpreter: its path, version and loaded extensions (lower case)."""

    path: str
    version: tuple[int, int]
    text: str
    extensions: frozenset[str]


SCENES = (
    Scene(
        name="thumbnails-1",
        script="thumbnails.php",
        arguments=("cat.jpg", "dog.jpg"),
        options=_FFI,
        needs=("ffi",),
        story="C code is handed a wrong address",
    ),
    Scene(
        name="thumbnails-2",
        script="thumbnails.php",
        arguments=("tree.png",),
        options=_FFI,
        needs=("ffi",),
        story="the same with another request",
    ),
    Scene(
        name="menu",
        script="menu.php",
        options=_ENDLESS,
        stack=_STACK,
        story="methods call each other through array_map without end",
    ),
    Scene(name="export", script="export.php", needs=("posix",), story="a signal from outside, in a generator"),
    Scene(
        name="invoice",
        script="invoice.php",
        options=_FFI,
        needs=("ffi",),
        oldest=(8, 1),
        story="C code called from a fiber ends the program with abort()",
    ),
    Scene(
        name="prices",
        script="prices.php",
        options=(*_FFI, *_JIT),
        needs=("ffi", "zend opcache"),
        oldest=(8, 0),
        story="a bad write below code compiled by the JIT",
    ),
)

PYTHON_STORY = "C code called from Python reads from address 0"
PYTHON_CODE = "import ctypes\ndef read_header():\n    ctypes.string_at(0)\nread_header()\n"


def find_php() -> Php | None:
    """The `php` on PATH, asked for its version and extensions; `None` where there is none."""
    path = shutil.which("php")
    if path is None:
        return None
    code = "echo PHP_VERSION, ' ', implode(',', array_merge(get_loaded_extensions(), get_loaded_extensions(true)));"
    done = subprocess.run(
        [path, "-r", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, text=True
    )
    found = re.match(r"(\d+)\.(\d+)\S* (.*)", done.stdout)
    if done.returncode != 0 or found is None:
        return None
    version = (int(found[1]), int(found[2]))
    text = f"PHP {done.stdout.split(' ', 1)[0]}"
    return Php(path, version, text, frozenset(found[3].lower().split(",")))


def command_line(scene: Scene, php: Php, scripts: Path) -> tuple[str, ...]:
    """The command line of a scene."""
    return (php.path, *scene.options, str(scripts / scene.script), *scene.arguments)


def lacks(scene: Scene, php: Php) -> str | None:
    """Why this PHP cannot play a scene, `None` when it can."""
    if php.version < scene.oldest:
        return f"needs PHP {scene.oldest[0]}.{scene.oldest[1]}"
    missing = [name for name in scene.needs if name not in php.extensions]
    return f"needs the extension {', '.join(missing)}" if missing else None


def python_command() -> tuple[str, ...]:
    """A crash of the Python that runs this program: there is always one."""
    return (sys.executable, "-c", PYTHON_CODE)


def playable(php: Php | None) -> Iterator[Scene]:
    """The scenes this machine's PHP can play."""
    if php is not None:
        yield from (scene for scene in SCENES if lacks(scene, php) is None)
