"""Real crashes, each made once a run and shared by the tests that look at it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab import fpm
from tests.lab.php import CASES, Interpreter, Made, make
from tests.lab.suites import SUITES, CannotMake, Suite, ensure
from triage.cli.main import triage
from triage.config import Settings
from triage.demo.crashes import find_php
from triage.pipeline import Pipeline
from triage.wire import crash_to_json

Maker = Callable[[str], Made]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes a case with this machine's PHP; the same case twice is the same core."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    return _maker(Interpreter(php.version), tmp_path_factory.mktemp("cores"))


@pytest.fixture(scope="session", params=SUITES, ids=lambda suite: f"php{suite.php}")
def made_by_suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """The same with the PHP of another Debian release."""
    suite: Suite = request.param
    return _maker(of_suite(suite), tmp_path_factory.mktemp(suite.name))


def of_suite(suite: Suite) -> Interpreter:
    """The PHP of another Debian release; the test is skipped where it cannot be had."""
    try:
        root = ensure(suite)
    except CannotMake as reason:
        pytest.skip(f"PHP {suite.php} cannot be had: {reason}")
    major, minor = map(int, suite.php.split("."))
    return Interpreter((major, minor), root)


def _maker(php: Interpreter, folder: Path) -> Maker:
    kept: dict[str, Made] = {}

    def maker(name: str) -> Made:
        if name not in kept:
            kept[name] = _make(name, php, folder)
        return kept[name]

    return maker


def _make(name: str, php: Interpreter, folder: Path) -> Made:
    if name == fpm.CASE.name:
        program = fpm.find_fpm()
        if program is None or shutil.which("cgi-fcgi") is None:
            pytest.skip("no php-fpm or cgi-fcgi here: apt install php-fpm libfcgi-bin")
        return fpm.serve_and_crash(program, folder)
    case = next(case for case in CASES if case.name == name)
    if php.version < case.oldest:
        pytest.skip(f"PHP {php.version[0]}.{php.version[1]} lacks what this needs")
    return make(case, php, folder)


def some(names: Iterable[str], few: Container[str]) -> list[Any]:
    """The names as parameters, those not among the few only with --whole."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.whole) for name in names]


def show(made: Made) -> dict[str, Any]:
    """What `triage show CORE --json` prints."""
    arguments = ["show", str(made.core), "--json"]
    if made.sysroot is not None:
        arguments += ["--sysroot", str(made.sysroot)]
    result = CliRunner().invoke(triage, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    crash: dict[str, Any] = json.loads(result.stdout)
    return crash


Triaged = Callable[[Path, Path | None], dict[str, Any]]


@pytest.fixture(scope="session")
def triaged() -> Iterator[Triaged]:
    """The crash object of a core, `root` being the folder its process lived in; one GDB kept warm for all."""
    with ExitStack() as stack:
        flows: dict[Path | None, Pipeline] = {}

        def triage_core(core: Path, root: Path | None) -> dict[str, Any]:
            if root not in flows:
                flows[root] = stack.enter_context(Pipeline(Settings(sysroot=root)))
            outcome = flows[root].triage(core)
            assert outcome.crash is not None, outcome.failure
            return crash_to_json(outcome.crash)

        yield triage_core
