"""Real bugs for the sealed set: PHP's regression tests in ways that corpus.py and fresh.py did not try.

    .venv/bin/python scripts/bench/clustering/sealedtests.py      find those that kill (an hour, once)

Those looked for tests that kill PHP 8.2 or 7.4 as they are, or 8.2 in fouled memory when named after a bug. Here are
the rest: PHP 7.4 in fouled memory, 8.2 with everything compiled by the JIT, tests without a bug's name from all
folders, and tests of extensions that were not there before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import corpus  # first: it finds the project
import fresh
import phps
import phptests
import unnamed
import wrappers
from corpus import JIT
from making import Making, dice_of
from phps import Php, home
from phptests import Test

from tests.lab.headers import unpack
from tests.lab.suites import CannotMake
from triage.demo.lab import Process
from triage.insight.known.phpt import sections_of

_MORE = ("sqlite3", "gmp", "bz2", "gd")
_FILES = ("sqlite3", "pdo_sqlite", "gmp", "bz2", "gd")
_SUITE = {"8.2": "bookworm", "7.4": "bullseye"}


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to run every test: settings and variables beside the test's own."""

    name: str
    settings: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


MODES = {"plain": Mode("plain"), "foul": Mode("foul", (), phptests.FOUL), "jit": Mode("jit", JIT)}


def with_more(php: Php) -> Php:
    """The PHP with those of the further extensions that its machine has the libraries for."""
    version = ".".join(map(str, php.version))
    if version not in _SUITE or (php.root is None and len(php.views) > 1):
        return php
    place = unpack(_SUITE[version], f"extensions-more-{version}", tuple(f"php{version}-{n}" for n in _MORE), "amd64")
    found = dict(php.extensions)
    for file in sorted(place.glob("usr/lib/php/*/*.so")):
        if file.stem not in _FILES:
            continue
        there = file
        if php.root is not None:
            there = php.work / "extensions" / file.name
            shutil.copy(file, there)
        found[file.stem] = php.inside(there)
    loads = {name: path for name, path in found.items() if name in php.extensions or _loads(php, path)}
    return replace(php, extensions=loads)


def _loads(php: Php, path: str) -> bool:
    argv = php.command(php.work, ("-d", f"extension={path}", "-r", "echo 'fine';"))
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "fine"


def every(php: Php) -> Iterator[Test]:
    """Every test of an extension that is there, those without a bug's name too, by path."""
    named = phptests.tests(php.tree)
    root = next(php.tree.glob("php-*"))
    there = _loaded(php) | set(php.extensions)
    for test in named:
        if _folder(test.path) <= there:
            yield test
    for path in sorted(root.rglob("*.phpt")):
        inside = path.relative_to(php.tree)
        if not _folder(str(inside)) <= there or phptests._NAMED.match(path.stem) or unnamed._NOT.search(str(inside)):
            continue
        sections = sections_of(path)
        if (
            "FILE" in sections
            and not phptests._CANNOT & set(sections)
            and not unnamed._KILLS.search(sections["FILE"])
        ):
            yield Test(f"{path.parent.name}-{path.stem}", _label(inside), str(inside), sections)


def _label(path: Path) -> str:
    """The bug of a test without a bug's name: that of its folder, where that is named after one."""
    named = phptests._NAMED.fullmatch(path.parent.name)
    return f"{named[1].lower()}-{int(named[2])}" if named else unnamed.label(path)


def _folder(path: str) -> set[str]:
    """The extension in whose folder a test lies."""
    parts = path.split("/")
    return {parts[2]} if parts[1] == "ext" else set()


def _loaded(php: Php) -> set[str]:
    said = subprocess.run(php.command(php.work, ("-m",)), capture_output=True, text=True, check=False).stdout
    return {line.strip().lower() for line in said.splitlines()} | {"opcache"}


def dying(php: Php, mode: Mode, title: str, tests: Sequence[Test]) -> list[str]:
    """The paths of the tests that kill this PHP in a mode, found once and kept under a title."""
    kept = home() / f"sealed-{php.name}-{mode.name}-{title}.json"
    if kept.exists():
        found: list[str] = json.loads(kept.read_text())
        return found
    run = php.work / f"sealed-dying-{mode.name}"
    found = []
    for test in tests:
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        if _dies(php, test, run, mode):
            found.append(test.path)
    shutil.rmtree(run, ignore_errors=True)
    print(f"{php.name} {mode.name} {title}: {len(found)} of {len(tests)}", flush=True)
    kept.write_text(json.dumps(found, indent=0))
    return found


def _dies(php: Php, test: Test, run: Path, mode: Mode) -> bool:
    settings = tuple(part for value in mode.settings for part in ("-d", value))
    argv = (*phptests.options(php, test), *settings, phptests.script(php, test, suffix=".sealed.php"),
            *test.sections.get("ARGS", "").split())  # fmt: skip
    try:
        done = subprocess.run(
            php.command(run, argv), cwd=run, env={**os.environ, **test.environment, **mode.environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10, check=False,
            preexec_fn=phptests._no_core, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode < 0


_SEARCHES = (("debian", "plain", "more"), ("debian", "jit", "named"), ("bullseye", "foul", "named"),
             ("debian", "foul", "unnamed"), ("debian", "foul", "more"), ("bullseye", "plain", "unnamed"))  # fmt: skip


def search() -> None:
    """Find them all."""
    for where, mode, title in _SEARCHES:
        php = with_more(phps.host() if where == "debian" else phps.of_suite(where))
        tests = [test for test in every(php) if _is_wanted(test, title)]
        dying(php, MODES[mode], title, tests)


def _is_wanted(test: Test, title: str) -> bool:
    """Whether a search is for a test: those of the new extensions, those named after a bug, or the rest."""
    if title == "more":
        return bool(_folder(test.path) & {*_FILES})
    return (phptests._NAMED.match(Path(test.path).stem) is not None) == (title == "named")


def found() -> dict[str, list[Mode]]:
    """The modes in which each test was found to kill, the plainest first, by its path."""
    deadly: dict[str, list[Mode]] = {}
    for name, mode in MODES.items():
        for path in sorted(home().glob(f"sealed-*-{name}-*.json")):
            for one in json.loads(path.read_text()):
                if mode not in deadly.setdefault(one, []):
                    deadly[one].append(mode)
    return deadly


def left_out() -> set[str]:
    """Labels that are another label's bug, or no bug at all, with the reason beside each in the list."""
    lines = Path(__file__).with_name("sealed_left_out.txt").read_text().splitlines()
    return {line.split()[0] for line in lines if line and not line.startswith("#")}


def makings(plain: Php) -> Iterator[Making]:
    """Each bug that no part of the other sets shows, in the mode it was found in and in several surroundings."""
    php, deadly = with_more(plain), found()
    if not deadly:
        raise CannotMake("no test is known to kill: run sealedtests.py first")
    used = {record["bug"] for record in (*corpus.traces(), *fresh.traces(), *fresh.traces(fresh.TABLES))}
    tests = [test for test in every(php) if test.path in deadly and test.bug not in used | left_out()]
    for at, (test, first) in enumerate(corpus.chosen_tests(tests)):
        for name in ("page-1", "plain", "page-2") if first else ("page-1",):
            yield _making(php, test, deadly[test.path][0], name, at)


def _making(php: Php, test: Test, mode: Mode, way: str, at: int) -> Making:
    family = php.name.split("-")[0]
    dice = dice_of(test.name, php.name, way)
    text = test.sections["FILE"]
    if way != "plain":
        text = wrappers.renamed(text, f"_{dice.randrange(1 << 20):x}")
    script = phptests.script(php, test, text, f".{family}.php")
    if way != "plain":
        script = phptests.script(php, test, wrappers.page(script, dice), f".{family}.page.php")
    run = php.work / "runs" / f"{os.getpid()}-{at}-{way}"
    extra = mode.settings
    if extra and "opcache" in php.zend_extensions:
        extra = (f"zend_extension={php.zend_extensions['opcache']}", *extra)
    settings = tuple(part for value in extra for part in ("-d", value))
    argv = (*phptests.options(php, test), *settings, script, *test.sections.get("ARGS", "").split())
    process = Process(argv=php.command(run, argv), folder=run, env={**test.environment, **mode.environment})
    return Making(test.bug, test.name, "php", f"{php.name} {way}", process, php.views, php.root)


if __name__ == "__main__":
    search()
