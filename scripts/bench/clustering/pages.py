"""Bugs that a few lines of PHP show, made to kill: as a script or behind a page, in PHP or in php-fpm's workers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import phptests
import wrappers
from builds import split_debug
from corpus import CACHE, MODES
from making import Kept, Making, Reader, dice_of, records, served
from phps import Php

from tests.lab import extension
from tests.lab.worker import serving
from triage.demo.lab import Process

View = tuple[str, Path | None]
_STACK = 1 << 20


class Shown(Protocol):
    """A bug to show: its label, the settings it needs."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> tuple[str, ...]: ...


B = TypeVar("B", bound=Shown)


def library(source: Path, php: Php, folder: Path) -> tuple[Path, tuple[View, ...]]:
    """The stripped extension where this PHP sees it, and the views its crashes are read with."""
    built = extension.build(folder / f"{source.stem}.so", php.version, "-g", source=source)
    debug = php.views[1][1] if len(php.views) > 1 and php.views[1][1] else folder / "debug"
    split_debug(built, debug)
    file = php.work / source.stem / built.name
    file.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "--strip-all", "-o", str(file), str(built)], check=True)
    return file, (("stripped", None), ("symbols", debug))


def script(php: Php, place: Path, name: str, code: str, way: str, dice: Random) -> Path:
    """The script of a bug, `plain` as it is, in all other ways behind a page and with other names."""
    place.mkdir(parents=True, exist_ok=True)
    text = f"<?php\n{code}\n"
    if way != "plain":
        text = wrappers.renamed(text, f"_{dice.randrange(1 << 20):x}")
    file = place / f"{name}.php"
    file.write_text(text)
    if way == "plain":
        return file
    page = place / f"{name}-page.php"
    page.write_text(wrappers.page(php.inside(file), dice))
    return page


def process(php: Php, bug: Shown, way: str, file: Path, run: str, extra: tuple[str, ...]) -> Process:
    """What runs the script in the folder `run`, with a code cache or the JIT where the way is `jit`."""
    mode = "off" if way != "jit" else dice_of(bug.name).choice(("opcache", "jit"))
    settings = (*bug.settings, *extra, *MODES[mode])
    if mode != "off" and "opcache" in php.zend_extensions:
        settings = (f"zend_extension={php.zend_extensions['opcache']}", *settings)
    options = tuple(part for value in (*phptests.SETTINGS, *settings) for part in ("-d", value))
    folder = php.work / "runs" / run
    return Process(argv=php.command(folder, (*options, php.inside(file))), folder=folder, env={}, stack=_STACK)


def fpm(
    php: Php, bugs: Sequence[B], kept: Kept, extra: tuple[str, ...], kind: str, script_of: Callable[[B], Path]
) -> None:
    """The bugs in php-fpm's workers, of this machine or of another release."""
    program = f"/usr/sbin/php-fpm{php.version[0]}.{php.version[1]}"
    settings = (*phptests.SETTINGS, *CACHE, "ffi.enable=1", *extra)
    options = tuple(part for value in settings for part in ("-d", value))
    reader = Reader()
    condition = f"{php.name} fpm"
    with serving(program, php.work, php.root, options) as workers:
        for bug in bugs:
            if f"{bug.name} {condition}" in kept.done:
                continue
            file = script_of(bug)
            found: list[dict[str, Any]] = []
            core = served(workers, php.inside(file), file.parent, {})
            if core is not None:
                nothing = Process(argv=(), folder=php.work, env={})
                making = Making(bug.name, bug.name, kind, condition, nothing, php.views[:1], php.root)
                found = records(making, core, reader)
                core.unlink()
            kept.add(f"{bug.name} {condition}", found)
    reader.close()
