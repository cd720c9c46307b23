"""Extensions that hook themselves into the engine are named, and the stack is right with them in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crashes.conftest import of_suite, show
from tests.lab.packages import unpacked
from tests.lab.php import Case, Interpreter, Made, make, shown
from tests.lab.suites import SUITES, CannotMake
from triage.demo.crashes import find_php

pytestmark = [pytest.mark.php, pytest.mark.gdb]

API = {(8, 2): "20220829", (8, 4): "20240924"}


def crashed(package: str, option: str, settings: tuple[str, ...], php: Interpreter, folder: Path) -> Made:
    """callbacks.php, dead with an extension of `package` loaded."""
    try:
        place = unpacked(package, php.root)
    except CannotMake as reason:
        pytest.skip(str(reason))
    where = Path("/opt") / package if php.root else place
    module = where / "usr/lib/php" / API[php.version] / f"{package.split('-')[1]}.so"
    options = ("-d", f"{option}={module}", *(part for setting in settings for part in ("-d", setting)))
    return make(Case(name=package, script="callbacks.php", options=options), php, folder)


def host() -> Interpreter:
    """This machine's PHP, when it is the one the packages are for."""
    php = find_php()
    if php is None or php.version not in API:
        pytest.skip("this machine's PHP is not one the extensions are for")
    return Interpreter(php.version)


def hooks(made: Made) -> list[tuple[str, str | None, str | None]]:
    crash = show(made)
    assert shown(crash) == list(made.frames)
    assert crash["status"] == "ok"
    return [(hook["name"], hook["extension"], hook["function"]) for hook in crash["runtime"]["hooks"]]


def test_a_debugger_that_replaces_the_engines_functions(tmp_path: Path) -> None:
    php = host()
    package = f"php{php.version[0]}.{php.version[1]}-xdebug"
    found = hooks(crashed(package, "zend_extension", ("xdebug.mode=develop,trace",), php, tmp_path))
    assert ("zend_execute_ex", "xdebug", "xdebug_execute_ex") in found
    assert ("zend_execute_internal", "xdebug", "xdebug_execute_internal") in found


def test_an_extension_with_a_loop_of_its_own(tmp_path: Path) -> None:
    php = host()
    package = f"php{php.version[0]}.{php.version[1]}-pcov"
    found = hooks(crashed(package, "extension", ("pcov.enabled=1",), php, tmp_path))
    assert ("zend_execute_ex", "pcov", "php_pcov_execute_ex") in found


@pytest.mark.suites
def test_an_observer_of_calls(tmp_path: Path) -> None:
    suite = next(suite for suite in SUITES if suite.php == "8.4")
    php = of_suite(suite)
    found = hooks(crashed("php8.4-xdebug", "zend_extension", ("xdebug.mode=develop,trace",), php, tmp_path))
    assert ("function call observer", "xdebug") in {(name, extension) for name, extension, _ in found}


def test_without_such_extensions(tmp_path: Path) -> None:
    php = host()
    made = make(Case(name="plain", script="callbacks.php", options=("-n", "-d", "extension=posix")), php, tmp_path)
    assert hooks(made) == []
