"""The labelled corpus: real crashes of known bugs, triaged once and kept as JSON lines in the user's cache.

    .venv/bin/python scripts/bench/clustering/corpus.py [PART…]      make what is missing (an hour or two, once)

Bugs are PHP's own, from the regression tests of a newer PHP that kill an older one, and mistakes made
on purpose in an extension and in C programs. Each is reached in several ways and on several builds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import phps
import phptests
import wrappers
from builds import split_debug
from making import Kept, Making, Reader, dice_of, lines, make, make_parts, records, served
from phps import Php, home

from tests.lab import extension
from tests.lab.faults import CXX, PHP, C, Wanted
from tests.lab.worker import serving
from triage.demo.lab import Process

ROOT = Path(__file__).resolve().parents[3]
CACHE = ("opcache.enable=1", "opcache.enable_cli=1", "opcache.memory_consumption=16",
         "opcache.interned_strings_buffer=2", "opcache.file_update_protection=0")  # fmt: skip
JIT = (*CACHE, "opcache.jit_buffer_size=16M", "opcache.jit=tracing", "opcache.jit_hot_loop=1",
       "opcache.jit_hot_func=1", "opcache.jit_hot_return=1", "opcache.jit_hot_side_exit=1")  # fmt: skip
MODES: Mapping[str, tuple[str, ...]] = {"off": (), "opcache": (*CACHE, "opcache.jit=disable"), "jit": JIT}
# Mistakes after which the script itself sends the signal: the place of death is not theirs.
_SAY_GOODBYE = {"heap-overflow", "heap-stale", "heap-double", "kill", "after-timeout", "after-memory-limit"}
# Killed by a limit or by another process, wherever they happen to be.
_ANYWHERE = {"cpu_limit", "file_limit", "killed_by_child", "twins"}  # twins: needs files beside it
_TESTS_OF_A_BUG = 3
_BOTH_VIEWS = {"plain", "page-1"}


# --- PHP's own bugs ---------------------------------------------------------------------------------

# (name, wrapped in a page, code cache, environment)
_WAYS: Mapping[str, tuple[tuple[str, bool, str, bool], ...]] = {
    "debian": (("plain", False, "off", False), ("page-1", True, "off", False), ("page-2", True, "off", False),
               ("opcache", True, "opcache", False), ("jit", True, "jit", False), ("foul", False, "off", True),
               ("foul-page", True, "off", True)),
    "bullseye": (("plain", False, "off", False), ("page-1", True, "off", False), ("opcache", True, "opcache", False)),
    "bookworm": (("page-1", True, "off", False),),
    "trixie": (("plain", False, "off", False), ("page-1", True, "off", False)),
    "own": (("plain", False, "off", False), ("page-1", True, "off", False), ("foul-page", True, "off", True)),
}  # fmt: skip
_FEWER = {"page-1", "foul-page"}  # for further tests of a bug


def chosen_tests(tests: Iterable[phptests.Test]) -> list[tuple[phptests.Test, bool]]:
    """The tests to run, at most three of a bug, each with whether it is the bug's first."""
    counts: dict[str, int] = {}
    chosen = []
    for test in tests:
        if counts.get(test.bug, 0) < _TESTS_OF_A_BUG:
            chosen.append((test, test.bug not in counts))
            counts[test.bug] = counts.get(test.bug, 0) + 1
    return chosen


def regression(php: Php, tests: Iterable[phptests.Test], foul_only: set[str]) -> Iterator[Making]:
    """Makings of PHP's own bugs on one PHP; `foul_only` are paths of those that show only in fouled memory."""
    family = php.name.split("-")[0]
    for at, (test, first) in enumerate(chosen_tests(tests)):
        for name, wrapped, mode, foul in _WAYS[family]:
            if not first and name not in _FEWER:
                continue
            foul = foul or test.path in foul_only
            dice = dice_of(test.name, php.name, name)
            text = test.sections["FILE"]
            if wrapped:
                text = wrappers.renamed(text, f"_{dice.randrange(1 << 20):x}")
            script = phptests.script(php, test, text, f".{family}.php")
            if wrapped:
                script = phptests.script(php, test, wrappers.page(script, dice), f".{family}.page.php")
            run = php.work / "runs" / f"{os.getpid()}-{at}-{name}"
            extra = MODES[mode]
            if mode != "off" and "opcache" in php.zend_extensions:
                extra = (f"zend_extension={php.zend_extensions['opcache']}", *extra)
            settings = tuple(part for value in extra for part in ("-d", value))
            argv = (*phptests.options(php, test), *settings, script, *test.sections.get("ARGS", "").split())
            env = {**test.environment, **(phptests.FOUL if foul else {})}
            process = Process(argv=php.command(run, argv), folder=run, env=env)
            yield Making(test.bug, test.name, "php", f"{php.name} {name}", process, php.views, php.root)


def fpm(php: Php, deadly: set[str], kept: Kept) -> None:
    """PHP's own bugs in php-fpm of this machine."""
    program = f"/usr/sbin/php-fpm{php.version[0]}.{php.version[1]}"
    reader = Reader()
    options = tuple(part for value in (*phptests.SETTINGS, *CACHE) for part in ("-d", value))
    loaded = tuple(part for name in ("dom", "simplexml", "xml", "soap", "xmlreader", "xmlwriter", "mbstring", "intl")
                   for part in ("-d", f"extension={php.extensions[name]}") if name in php.extensions)  # fmt: skip
    with serving(program, php.work, None, (*options, *loaded)) as workers:
        for test, first in chosen_tests(phptests.select(php, sorted(deadly))):
            condition = f"{php.name} fpm"
            if not first or f"{test.name} {condition}" in kept.done:
                continue
            dice = dice_of(test.name, condition)
            text = wrappers.renamed(test.sections["FILE"], f"_{dice.randrange(1 << 20):x}")
            script = phptests.script(php, test, text, ".fpm.php")
            script = phptests.script(php, test, wrappers.page(script, dice), ".fpm.page.php")
            folder = str(Path(script).parent)
            found: list[dict[str, Any]] = []
            core = served(workers, script, Path(folder), {"PHP_VALUE": "\n".join(test.settings(folder))})
            if core is not None:
                making = Making(test.bug, test.name, "php", condition,
                                Process(argv=(), folder=php.work, env={}), php.views)  # fmt: skip
                found = records(making, core, reader)
                core.unlink()
            kept.add(f"{test.name} {condition}", found)
    reader.close()


# --- mistakes made on purpose -----------------------------------------------------------------------


def purposeful_php(php: Php, folder: Path) -> Iterator[Making]:
    """The faulty extension and scripts, on one PHP; the extension read with and without symbols."""
    built = extension.build(folder / "faulty.so", php.version, "-g")
    split_debug(built, folder / "debug")
    place = php.work / "faulty"
    place.mkdir(parents=True, exist_ok=True)
    library = place / "faulty.so"
    subprocess.run(["strip", "--strip-all", "-o", str(library), str(built)], check=True)
    views = (("stripped", None), ("symbols", folder / "debug")) if php.views[0][1] is None else php.views
    if len(php.views) > 1 and php.views[1][1] is not None:
        split_debug(built, php.views[1][1])
        views = php.views
    for wanted in PHP:
        if wanted.name in _SAY_GOODBYE:
            continue
        for way in _WAYS[php.name.split("-")[0]]:
            if way[0] in _BOTH_VIEWS or (php.root is None and len(php.views) == 1):
                yield _faulty(php, wanted, way, place, views if way[0] in _BOTH_VIEWS else views[:1])


def _faulty(
    php: Php,
    wanted: Wanted,
    way: tuple[str, bool, str, bool],
    place: Path,
    views: tuple[tuple[str, Path | None], ...],
) -> Making:
    name, wrapped, mode, foul = way
    dice = dice_of(wanted.name, php.name, name)
    text = f"<?php\n{wanted.code}\n"
    if wrapped:
        text = wrappers.renamed(text, f"_{dice.randrange(1 << 20):x}")
    script = place / f"{wanted.name}-{name}.php"
    script.write_text(text)
    if wrapped:
        page = place / f"{wanted.name}-{name}-page.php"
        page.write_text(wrappers.page(php.inside(script), dice))
        script = page
    run = php.work / "runs" / f"{os.getpid()}-{wanted.name}-{name}"
    extra = MODES[mode]
    if mode != "off" and "opcache" in php.zend_extensions:
        extra = (f"zend_extension={php.zend_extensions['opcache']}", *extra)
    own = (f"extension={php.inside(place / 'faulty.so')}", "ffi.enable=1", "zend.max_allowed_stack_size=-1",
           *extra, *wanted.options)  # fmt: skip
    argv = (*(part for value in own for part in ("-d", value)), php.inside(script))
    process = Process(argv=php.command(run, argv), folder=run, env=phptests.FOUL if foul else {}, stack=wanted.stack)
    return Making(f"own-{wanted.name}", f"own-{wanted.name}", "ext", f"{php.name} {name}", process, views, php.root)


_C_FLAGS = ("-fno-inline", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-w", "-Wl,--build-id", "-g")


def purposeful_c(folder: Path) -> Iterator[Making]:
    """The C and C++ programs: one build with and without its symbols, another one with them."""
    sources = ROOT / "fixtures" / "c"
    wrap = Path(__file__).with_name("wrap.c")
    for number, name in ((1, "one"), (2, "two")):
        (folder / name).mkdir(exist_ok=True)
        library = [
            "gcc",
            "-shared",
            "-fPIC",
            f"-DVERSION={number}",
            "-o",
            str(folder / name / f"libtwin.so.{number}"),
        ]
        subprocess.run([*library, str(sources / "twin.c")], check=True)
    for level in ("-O1", "-O2"):
        program = folder / f"faults{level}"
        parts = []
        for source, more in ((sources / "faults.c", ("-Dmain=faults_main",)), (wrap, ())):
            parts.append(str(folder / f"{source.stem}{level}.o"))
            subprocess.run(["gcc", level, *_C_FLAGS, *more, "-c", "-o", parts[-1], str(source)], check=True)
        subprocess.run(["gcc", *_C_FLAGS, "-o", str(program), *parts, "-ldl", "-pthread"], check=True)
        yield from _c_makings(folder, program, level, C, ways=2 if level == "-O1" else 1)
        program = folder / f"faultsxx{level}"
        argv = ["g++", level, *_C_FLAGS, "-o", str(program), str(sources / "faults.cpp"), "-pthread"]
        subprocess.run(argv, check=True)
        yield from _c_makings(folder, program, level, CXX, ways=0)


def _c_makings(folder: Path, program: Path, level: str, cases: Iterable[Wanted], *, ways: int) -> Iterator[Making]:
    debug = folder / f"debug-{program.name}"
    split_debug(program, debug)
    stripped = folder / f"{program.name}-stripped"
    subprocess.run(["strip", "--strip-all", "-o", str(stripped), str(program)], check=True)
    symbols: tuple[tuple[str, Path | None], ...] = (("symbols", debug),)
    views = (("stripped", None), *symbols) if level == "-O1" else symbols
    for wanted in cases:
        if wanted.name in _ANYWHERE:
            continue
        for way in dice_of(wanted.name, level).sample(range(5), ways) if ways else [0]:
            run = folder / "runs" / f"{wanted.name}-{way}"
            place = folder / "places" / f"{wanted.name}-{way}"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            shutil.copy(stripped, place / "faults")
            argv = (str(place / "faults"), *((str(way),) if ways else ()), wanted.name)
            process = Process(argv=argv, folder=run, env={}, stack=wanted.stack)
            yield Making(f"c-{wanted.name}", f"c-{wanted.name}", "c", f"c{level} {way}", process, views)


# --- parts ------------------------------------------------------------------------------------------


def _deadly() -> tuple[set[str], set[str]]:
    """The tests that kill some PHP, and those that do so only without PHP's allocator."""
    host, old = phps.host(), phps.of_suite("bullseye")
    plain = set(phptests.deadly(host, "plain")) | set(phptests.deadly(old, "plain"))
    foul = set(phptests.deadly(host, "foul"))
    return plain | foul, foul - plain


def part(name: str) -> None:
    """Make one part of the corpus."""
    kept = Kept(home() / "traces" / f"{name}.jsonl.gz")
    folder = home() / "work" / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "c":
        make(purposeful_c(folder), kept)
        return
    kind, where = name.split("-", 1)
    php = php_of(where)
    if kind == "ext":
        make(purposeful_php(php, folder), kept)
    elif kind == "fpm":
        deadly, foul = _deadly()
        fpm(php, deadly - foul, kept)
    else:
        deadly, foul = _deadly()
        make(regression(php, phptests.select(php, sorted(deadly)), foul), kept)


def php_of(where: str) -> Php:
    """The PHP of a part's name."""
    if where == "debian":
        return phps.host()
    if where.startswith("own"):
        return next(php for php in phps.own(where.removeprefix("own-")))
    return phps.of_suite(where)


PARTS = ("c", "ext-debian", "ext-bullseye", "ext-own-8.2.32", "php-debian", "php-bullseye", "php-bookworm",
         "php-trixie", "php-own-8.2.32", "fpm-debian")  # fmt: skip


def traces() -> Iterator[dict[str, Any]]:
    """All that is kept: `bug`, `test`, `kind`, `condition`, `view`, `crash`."""
    for name in PARTS:
        for record in lines(home() / "traces" / f"{name}.jsonl.gz"):
            if record["crash"] is not None:
                yield record


if __name__ == "__main__":
    sys.exit(make_parts(sys.argv[1:] or PARTS, part, traces, "bugs"))
