"""What is kept of PHP's builds from core to core changes no reading: each core reads as it does alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.lab.extension import SOURCE, build
from tests.lab.fpm import find_fpm, serve_and_crash
from tests.lab.php import CASES, Case, Interpreter, make
from tests.lab.suites import CannotMake
from triage.config import Settings
from triage.corefile import open_core
from triage.demo.crashes import find_php
from triage.pipeline import Pipeline
from triage.runtimes.php import PhpProcess, detect
from triage.symbols import Finder
from triage.wire import crash_to_json

pytestmark = [pytest.mark.php]

_CACHE = next(case.options for case in CASES if case.name == "opcache")
_BARE = ("-n", "-d", "extension=posix", "-d", "enable_dl=1")
_DIES = "oracle() && posix_kill(posix_getpid(), 11);"
SETUPS = (
    Case(name="plain", script="callbacks.php"),
    Case(name="again", script="kill_main.php"),
    Case(name="set", script="callbacks.php", options=("-d", "session.name=shop", "-d", "include_path=/x")),
    Case(name="disabled", script="kill_deep.php", arguments=("1",),
         options=("-d", "disable_functions=exec,strlen,count,var_dump")),
    Case(name="opcache", script="callbacks.php", options=_CACHE),
    Case(name="bare", script="oracle.php", options=_BARE, code=_DIES),
    Case(name="dl", script="oracle.php", options=_BARE, code=f"dl('calendar'); {_DIES}"),
    Case(name="ini_set", script="oracle.php", code=f"ini_set('precision', '3'); ini_set('user_agent', 'x'); {_DIES}"),
)  # fmt: skip


def reading(core: Path, finder: Finder) -> dict[str, Any]:
    """All that is read of PHP: its setup, every directive, every name of machine code."""
    with open_core(core) as found:
        found.memory.use_files(finder.backing(found.modules))
        process = detect(found, finder)
        assert isinstance(process, PhpProcess)
        told = process.read()
        names = {address: told.names.get(address) for address in _starts(found.modules, finder)}
        assert sum(name is not None for name in names.values()) > 500
        return {"runtime": asdict(told.runtime), "directives": process.directives(), "names": names}


def _starts(modules: Any, finder: Finder) -> list[int]:
    """Where functions of PHP and its extensions begin."""
    mine = [module for module in modules if "php" in module.path]
    files = [(module, finder.locate(module).file) for module in mine]
    return [start + module.base for module, file in files if file for start in file.function_starts()]


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    php, fpm = find_php(), find_fpm()
    if php is None or fpm is None:
        pytest.skip("no php here: apt install php-cli php-fpm")
    folder = tmp_path_factory.mktemp("builds")
    made = {case.name: make(case, Interpreter(php.version), folder).core for case in SETUPS}
    (folder / "fpm").mkdir()
    return {**made, "fpm": serve_and_crash(fpm, folder / "fpm").core}


@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "in reverse"])
def test_a_core_read_after_others_reads_as_it_does_alone(cores: dict[str, Path], *, backwards: bool) -> None:
    alone = {name: reading(core, Finder()) for name, core in cores.items()}
    shared = Finder()
    for name in sorted(cores, reverse=backwards):
        assert reading(cores[name], shared) == alone[name], name
    for name in sorted(cores, reverse=not backwards):  # and once more, when all was learned
        assert reading(cores[name], shared) == alone[name], name
    assert alone["set"]["runtime"]["options"]["session.name"] == "shop"
    assert alone["ini_set"]["runtime"]["options"]["precision"] == "3"
    assert "calendar" in alone["dl"]["runtime"]["extensions"]
    assert "calendar" not in alone["bare"]["runtime"]["extensions"]


def test_processes_with_and_without_opcache_are_learned_side_by_side(
    cores: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, anew = PhpProcess._read_directives, list[str]()

    def counted(process: PhpProcess) -> Any:
        anew.append(str(process._core.path.name))
        return read(process)

    monkeypatch.setattr(PhpProcess, "_read_directives", counted)
    shared = Finder()
    for name in ("plain", "opcache", "again", "opcache", "plain"):
        reading(cores[name], shared)
    assert anew == [cores["plain"].name, cores["opcache"].name]


@pytest.mark.gdb
def test_code_an_extension_put_behind_a_function_is_found_after_cores_without_it(tmp_path: Path) -> None:
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    try:
        module = build(tmp_path / "takeover.so", php.version, "-s", source=SOURCE.with_name("takeover.c"))
    except CannotMake as reason:
        pytest.skip(str(reason))

    def dead(name: str, enabled: str) -> Path:
        options = ("-d", f"extension={module}", "-d", f"takeover.enabled={enabled}")
        code = f"function f($x) {{ {_DIES} }} array_map('f', [1]);"
        return make(
            Case(name=name, script="oracle.php", options=options, code=code), Interpreter(php.version), tmp_path
        ).core

    without, taken = dead("without", "0"), dead("taken", "1")
    with Pipeline(Settings()) as alone, Pipeline(Settings()) as later:
        assert "zif_array_map" in _functions(later, without)
        expected = _functions(alone, taken)
        assert expected.count("zif_array_map") == 1  # the name of what stands in PHP's table: the extension's code
        assert _functions(later, taken) == expected


def _functions(pipeline: Pipeline, core: Path) -> list[str | None]:
    crash = pipeline.triage(core).crash
    assert crash is not None
    frames = crash_to_json(crash)["threads"][0]["frames"]
    return [frame["function"] for frame in frames if frame["kind"] == "native"]
