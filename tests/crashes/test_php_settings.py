"""Settings and extensions read from the core equal what PHP said with ini_get_all() and phpversion()."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.crashes.conftest import of_suite
from tests.lab.fpm import find_fpm
from tests.lab.php import Case, Interpreter, make
from tests.lab.suites import SUITES, Suite
from tests.lab.worker import serving
from triage.corefile import open_core
from triage.demo.crashes import find_php
from triage.runtimes.php import PhpProcess, detect
from triage.runtimes.php.ini import Directive
from triage.symbols import Finder

pytestmark = [pytest.mark.php]

CASE = Case(name="settings", script="settings.php")
GIVEN = ("-d", "display_errors=stderr", "-d", "session.name=triage", "-d", "assert.exception=0")
POOL = (
    "php_admin_value[post_max_size] = 3M\nphp_value[default_charset] = iso-8859-1\n"
    "php_admin_flag[log_errors] = on\nphp_flag[short_open_tag] = on\n"
)

Settings = dict[str, tuple[str | None, str | None]]


def read(core: Path, root: Path | None) -> tuple[Settings, dict[str, str | None]]:
    """`({directive: (value now, value before)}, {extension: version})` of a core."""
    with open_core(core) as found:
        finder = Finder(root)
        found.memory.use_files(finder.backing(found.modules))
        process = detect(found, finder)
        assert isinstance(process, PhpProcess)
        settings = {item.name: (item.value, _as_php_says(item)) for item in process.directives()}
        return settings, dict(process.read(heap=False).runtime.extensions)


def _as_php_says(item: Directive) -> str | None:
    """ini_get_all() gives the value of now where there was none before."""
    return item.value if item.original is None else item.original


def said(oracle: Path) -> tuple[Settings, dict[str, str | None]]:
    """The same as PHP said it."""
    record: dict[str, Any] = json.loads(oracle.read_text())
    settings = {name: (entry["local_value"], entry["global_value"]) for name, entry in record["ini"].items()}
    return settings, record["extensions"]


def compare(core: Path, oracle: Path, root: Path | None) -> Settings:
    settings, extensions = read(core, root)
    their_settings, their_extensions = said(oracle)
    assert settings == their_settings
    assert extensions == their_extensions
    assert len(settings) > 100
    return settings


def of_cli(php: Interpreter, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    kept = folder / "said.json"  # the folder of the run is gone when make() returns
    monkeypatch.setattr("tests.lab.php.said", lambda oracle, case: [kept.write_bytes(oracle.read_bytes())][1:])
    made = make(Case(name="settings", script="settings.php", options=GIVEN), php, folder)
    return compare(made.core, kept, php.root)


def of_fpm(program: str, php: Interpreter, folder: Path) -> Settings:
    with serving(program, folder, php.root, GIVEN, POOL) as workers:
        (workers.run / "www" / ".user.ini").write_text("max_input_time = 47\nuser_agent = from user.ini\n")
        made = workers.crash(CASE, folder / "fpm.core")
        return compare(made.core, workers.run / "settings.json", php.root)


def test_settings_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    found = of_cli(Interpreter(php.version), tmp_path, monkeypatch)
    assert found["memory_limit"] == ("77M", "-1")
    assert found["session.name"] == ("triage", "triage")


def test_definitions_without_handlers_are_found_by_their_shape_alone(tmp_path: Path) -> None:
    """As in an extension none of whose directives has a handler, so that none is the neighbour of one that has."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    made = make(Case(name="settings", script="settings.php", options=GIVEN), Interpreter(php.version), tmp_path)

    def defaults() -> dict[str, str | None]:
        with open_core(made.core) as found:
            finder = Finder(None)
            found.memory.use_files(finder.backing(found.modules))
            process = detect(found, finder)
            assert isinstance(process, PhpProcess)
            return {item.name: item.default for item in process.directives() if item.known}

    beside = defaults()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triage.runtimes.php.ini._Definitions._note", lambda *_: None)
        alone = defaults()
    assert alone == beside
    assert (beside["disable_functions"], beside["max_file_uploads"]) == ("", "20")


def test_settings_of_a_pool(tmp_path: Path) -> None:
    php, program = find_php(), find_fpm()
    if php is None or program is None:
        pytest.skip("no php-fpm here: apt install php-fpm")
    found = of_fpm(program, Interpreter(php.version), tmp_path)
    assert found["post_max_size"][0] == "3M"
    assert found["default_charset"][0] == "iso-8859-1"
    assert found["max_input_time"][0] == "47"
    assert found["user_agent"][0] == "triage test"


@pytest.mark.suites
@pytest.mark.parametrize("sapi", ["cli", "fpm"])
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_settings_of_other_versions(suite: Suite, sapi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    php = of_suite(suite)
    if sapi == "cli":
        assert of_cli(php, tmp_path, monkeypatch)["memory_limit"] == ("77M", "-1")
    else:
        assert of_fpm(f"/usr/sbin/php-fpm{suite.php}", php, tmp_path)["post_max_size"][0] == "3M"


@pytest.mark.suites
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_files_and_defaults_of_extensions(suite: Suite, tmp_path: Path) -> None:
    """Also of PHP 7, which keeps what it knows of an extension on its heap and not in the extension's file."""
    php = of_suite(suite)
    made = make(Case(name="settings", script="settings.php"), php, tmp_path)
    with open_core(made.core) as found:
        finder = Finder(made.sysroot)
        found.memory.use_files(finder.backing(found.modules))
        process = detect(found, finder)
        assert isinstance(process, PhpProcess)
        files, directives = process.read().runtime.extension_files, process.directives()
    assert Path(files["posix"]).name == "posix.so"
    assert Path(files["FFI"]).name == "ffi.so"
    assert not {"Core", "standard"} & files.keys()
    unknown = [item.name for item in directives if not (item.known or item.taken)]
    assert len(unknown) <= 2, unknown
