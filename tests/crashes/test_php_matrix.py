"""The PHP stack equals what PHP said, for each version, server interface and way to run code.

The whole matrix takes many minutes and runs with --whole; a row of it (php-fpm of this machine,
JIT on) runs always.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crashes.conftest import of_suite, show
from tests.lab.fpm import find_fpm
from tests.lab.php import CASES, Case, Interpreter, Made, make, shown, shown_calls
from tests.lab.suites import SUITES, Suite
from tests.lab.worker import serving
from triage.demo.crashes import find_php

pytestmark = [pytest.mark.php, pytest.mark.gdb]

_NAMES = (
    "callbacks",
    "generator",
    "fiber",
    "fibers",
    "include",
    "eval",
    "autoload",
    "magic",
    "output",
    "jit-function",
)
SCRIPTS = tuple(replace(case, options=()) for case in CASES if case.name in _NAMES)
_CACHE = (
    *("opcache.enable=1", "opcache.enable_cli=1", "opcache.memory_consumption=16"),
    *("opcache.interned_strings_buffer=2", "opcache.file_update_protection=0"),
)
_JIT = (*_CACHE, "opcache.jit_buffer_size=16M")
MODES = {
    "off": ("opcache.enable=0", "opcache.enable_cli=0"),
    "opcache": (*_CACHE, "opcache.jit=disable", "opcache.jit_buffer_size=0"),
    "jit-function": (*_JIT, "opcache.jit=1205"),
    "jit-tracing": (*_JIT, "opcache.jit=tracing", "opcache.jit_hot_func=2", "opcache.jit_hot_loop=4"),
}


def settings(mode: str) -> tuple[str, ...]:
    return tuple(part for setting in MODES[mode] for part in ("-d", setting))


def fits(case: Case, php: Interpreter) -> bool:
    return php.version >= case.oldest or (case.name == "jit-function" and php.version < (8, 0))


def differs(made: Made) -> str | None:
    """What is not as PHP said, `None` when all is."""
    crash = show(made)
    found, wanted = shown(crash), list(made.frames)
    if found != wanted:
        return f"{made.case.name}: {found} instead of {wanted}"
    calls = shown_calls(crash, made.case.culprit and made.case.culprit[1])
    if calls != list(made.passed):
        return f"{made.case.name}: {calls} instead of {list(made.passed)}"
    if crash["status"] != "ok":
        return f"{made.case.name}: {crash['warnings']}"
    return None


def cli(php: Interpreter, mode: str, folder: Path) -> Iterator[Made]:
    for case in SCRIPTS:
        if fits(case, php):
            yield make(replace(case, options=settings(mode)), php, folder)


def fpm(program: str, php: Interpreter, mode: str, folder: Path) -> Iterator[Made]:
    with serving(program, folder, php.root, settings(mode)) as workers:
        for case in SCRIPTS:
            if fits(case, php):
                yield workers.crash(case, folder / f"fpm-{case.name}.core")


def test_a_row_of_the_matrix(tmp_path: Path) -> None:
    php, program = find_php(), find_fpm()
    if php is None or program is None:
        pytest.skip("no php-cli or php-fpm here")
    made = list(fpm(program, Interpreter(php.version), "jit-tracing", tmp_path))
    assert [difference for difference in map(differs, made) if difference] == []
    assert len(made) == len(SCRIPTS)


@pytest.mark.whole
@pytest.mark.suites
@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("sapi", ["cli", "fpm"])
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_the_whole_matrix(suite: Suite, sapi: str, mode: str, tmp_path: Path) -> None:
    php = of_suite(suite)
    if mode.startswith("jit") and php.version < (8, 0):
        pytest.skip("PHP 7.4 has no JIT")
    crashes = cli(php, mode, tmp_path) if sapi == "cli" else fpm(f"/usr/sbin/php-fpm{suite.php}", php, mode, tmp_path)
    made = list(crashes)
    assert [difference for difference in map(differs, made) if difference] == []
    assert len(made) == sum(fits(case, php) for case in SCRIPTS)
