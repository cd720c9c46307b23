"""The shipped structure tables are what the headers of Debian's PHP say, compiled here and now."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import layouts
from tests.lab.headers import HEADERS, Headers, cross_compiler, fetch
from tests.lab.layouts import shipped_file, shipped_parts, unlike
from tests.lab.suites import CannotMake
from triage.errors import EnvironmentLacks, InputError
from triage.model import Symbols
from triage.runtimes.php.donor import compile_types, layout_table, render
from triage.runtimes.php.layout import layout_for
from triage.runtimes.php.measure import wanted_structures
from triage.runtimes.php.measured import refine
from triage.symbols import ElfFile, Located

pytestmark = [
    pytest.mark.suites,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the tables are of x86-64"),
]

of_each_php = pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: f"php{headers.php}")
of_each_mode = pytest.mark.parametrize("zts", [False, True], ids=["nts", "zts"])


def lab(make: Callable[[], Any]) -> Any:
    """What `make` returns; the test is skipped where it cannot be had."""
    try:
        return make()
    except CannotMake as reason:
        pytest.skip(str(reason))


@of_each_mode
@of_each_php
def test_the_shipped_table_is_what_the_headers_say(headers: Headers, zts: bool) -> None:
    made = layout_table(lab(lambda: fetch(headers)), zts=zts)
    assert made["version"] == f"{headers.php}-{'zts' if zts else 'nts'}"
    text = shipped_file(made["version"]).read_text()
    known = json.loads(text)["consts"]["PHP_VERSION_ID"]
    if made["consts"]["PHP_VERSION_ID"] < known:
        pytest.skip("this mirror has an older patch release than the one measured")
    # Debian may have moved on to a newer one; its structures are compared all the same.
    made["consts"]["PHP_VERSION_ID"] = known
    assert render(made) == text


@of_each_mode
@of_each_php
def test_only_what_holds_a_struct_stat_differs_on_aarch64(headers: Headers, zts: bool) -> None:
    compiler = lab(cross_compiler)
    made = layout_table(lab(lambda: fetch(headers, "arm64")), zts=zts, compiler=compiler)
    shipped = json.loads(shipped_file(made["version"]).read_text())
    assert unlike(made, shipped) == shipped_parts()[headers.php]
    assert made["opcodes"] == shipped["opcodes"]
    assert made["consts"].keys() == shipped["consts"].keys()
    layout = layout_for(headers.php, zts=zts, machine="aarch64")
    assert layout is not None
    assert {name: layout.places(name) for name in made["structs"]} == {
        name: {field: tuple(place) for field, place in entry["fields"].items()}
        for name, entry in made["structs"].items()
    }


@of_each_mode
@of_each_php
def test_a_binary_of_debians_configuration_agrees_with_the_table(
    headers: Headers, zts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    located = library(lab(lambda: fetch(headers)), tmp_path / "libphp.so", zts=zts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layout = layout_for(headers.php, zts=zts)
    assert layout is not None
    refined, warnings = refine(layout, located)
    assert warnings == ()
    assert refined is not layout
    assert {name: refined.places(name) for name in wanted_structures()} == {
        name: layout.places(name) for name in wanted_structures()
    }


def test_a_changed_php_is_read_by_its_own_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same PHP with a member added to the executor's globals: all after it lies 8 bytes further."""
    tree = tmp_path / "headers"
    shutil.copytree(lab(lambda: fetch(Headers("bookworm", "8.2"))), tree)
    header = tree / "Zend" / "zend_globals.h"
    text = header.read_text()
    changed = text.replace("\tHashTable included_files;", "\tvoid *added;\n\tHashTable included_files;")
    assert changed != text
    header.write_text(changed)
    located = library(tree, tmp_path / "libphp.so", zts=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layout = layout_for("8.2", zts=False)
    assert layout is not None
    before = layout.places("executor_globals")
    assert before is not None

    refined, warnings = refine(layout, located)

    limit = layout.offset("executor_globals", "included_files")
    moved = [name for name, (offset, _) in before.items() if offset >= limit]
    assert refined.places("executor_globals") == {
        name: (offset + 8 * (offset >= limit), size) for name, (offset, size) in before.items()
    }
    assert refined.size("executor_globals") == layout.size("executor_globals") + 8
    assert refined.places("zval") == layout.places("zval")
    offset, size = before["active"]
    assert warnings[0] == (
        f"executor_globals.active lies at byte {offset + 8} ({size} long) by PHP's debug information, "
        f"at {offset} ({size} long) by the table of 8.2-nts: the former is used"
    )
    assert len(warnings) == 6
    assert warnings[5] == (
        f"PHP's debug information and the table of structures differ in {len(moved) - 5} more places"
    )


def library(tree: Path, target: Path, *, zts: bool) -> Located:
    """A shared library with PHP's structures in its debug information, as a linker leaves it."""
    compile_types(tree, target, zts=zts, output=("-shared", "-nostdlib", "-fPIC", "-Wl,--build-id"))
    return Located(Symbols.FULL, ElfFile(target))


def test_the_script_says_what_differs_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, compiler = lab(lambda: fetch(Headers("bookworm", "8.2"))), lab(cross_compiler)
    arm = lab(lambda: fetch(Headers("bookworm", "8.2"), "arm64"))
    files = [shipped_file("8.2-nts"), shipped_file("8.2-zts"), shipped_file("8.2-nts").parent.parent / "aarch64.json"]
    shipped = [path.read_text() for path in files]
    (tmp_path / "layouts").mkdir()
    monkeypatch.setattr(layouts, "_DATA", tmp_path)
    copies = [tmp_path / "layouts" / "8.2-nts.json", tmp_path / "layouts" / "8.2-zts.json", tmp_path / "aarch64.json"]
    for copy, text in zip(copies, shipped, strict=True):
        copy.write_text(text.replace('"global_stat": [256, ', '"global_stat": [255, '))
    line = "structs.sapi_globals.fields.global_stat: [255, 144] -> [256, 144]\n"

    assert layouts.main([str(tree)]) == 1
    assert capsys.readouterr().out == f"8.2-nts: {line}8.2-zts: {line}"
    assert layouts.main([str(tree), "--write"]) == 0
    on_arm = [str(arm), "--target", "aarch64", "--compiler", " ".join(compiler)]
    assert layouts.main(on_arm) == 1
    assert layouts.main([*on_arm, "--write"]) == 0
    assert layouts.main([str(tree)]) == layouts.main(on_arm) == 0
    written = [copy.read_text() for copy in copies]
    assert written[:2] == shipped[:2]
    assert json.loads(written[2])["8.2"] == json.loads(shipped[2])["8.2"]
    assert layouts.main([str(tmp_path)]) == 3
    assert capsys.readouterr().err.endswith(f"scripts/layouts: {tmp_path} holds no headers of PHP\n")


def test_what_is_not_phps_headers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        layout_table(tmp_path, zts=False)
    assert raised.value.code == "not-headers"
    with pytest.raises(EnvironmentLacks):
        layout_table(tmp_path, zts=False, compiler=("no-such-compiler",))
