"""The crashed binary's own debug information wins over the table, and says where they disagree."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_dwarf import program
from triage.corefile.modules import MappedModule
from triage.model import Symbols
from triage.runtimes.php import measured
from triage.runtimes.php.layout import Layout, layout_for
from triage.runtimes.php.measured import refine
from triage.symbols import ElfFile, Finder, Located

NOT_BELIEVED = "reference in PHP's debug information lacks fields that every version has: the table is used"
MOVED = (
    "vm_stack.end lies at byte 32 (8 long) by PHP's debug information, at 8 (8 long) by the table of 8.2-nts: "
    "the former is used",
    "vm_stack.prev lies at byte 40 (8 long) by PHP's debug information, at 16 (8 long) by the table of 8.2-nts: "
    "the former is used",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "triage" / "php-layouts"


@pytest.fixture
def layout() -> Layout:
    found = layout_for("8.2.36", zts=False)
    assert found is not None
    return found


def located(path: Path) -> Located:
    return Located(Symbols.FULL, ElfFile(path))


def test_what_agrees_is_not_a_warning(tmp_path: Path, layout: Layout) -> None:
    refined, warnings = refine(layout, located(program(tmp_path, "-g")))
    assert warnings == (NOT_BELIEVED,)
    for struct in ("vm_stack", "llist_element", "zval", "reference", "executor_globals"):
        assert refined.places(struct) == layout.places(struct), struct


def test_what_differs_is_used_and_said(tmp_path: Path, layout: Layout) -> None:
    refined, warnings = refine(layout, located(program(tmp_path, "-g", "-DCHANGED")))
    assert warnings == (NOT_BELIEVED, *MOVED)
    assert refined.places("vm_stack") == {"top": (0, 8), "end": (32, 8), "prev": (40, 8)}
    assert (refined.size("vm_stack"), refined.offset("vm_stack", "end")) == (48, 32)
    assert refined.places("reference") == layout.places("reference")
    assert (layout.size("vm_stack"), refined.key, refined.opcode_name(1)) == (24, "8.2-nts", "ZEND_ADD")


def test_without_debug_information_the_table_stays(tmp_path: Path, layout: Layout) -> None:
    plain = located(program(tmp_path, "-g0"))
    for nothing in (plain, Located(Symbols.MISSING, None), Located(Symbols.MISMATCH, None)):
        assert refine(layout, nothing) == (layout, ())


def test_a_file_that_is_not_proven_is_not_asked(tmp_path: Path, layout: Layout) -> None:
    file = ElfFile(program(tmp_path, "-g", "-DCHANGED"))
    assert refine(layout, Located(Symbols.FULL, file, verified=False)) == (layout, ())


def split(tmp_path: Path, build_id_of: Path | None = None) -> tuple[MappedModule, Path]:
    """A stripped program as the core names it, and a debug folder with what was stripped."""
    path = program(tmp_path, "-g", "-DCHANGED")
    build_id = ElfFile(build_id_of or path).build_id
    assert build_id is not None
    folder = tmp_path / "debug"
    debug = folder / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    debug.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", str(path), str(debug)], check=True)
    subprocess.run(["strip", str(path)], check=True)
    return MappedModule(path=str(path), start=0, end=4096, base=0, build_id=build_id, deleted=False), folder


def test_a_separate_debug_file_is_found_by_its_build_id(tmp_path: Path, layout: Layout) -> None:
    module, folder = split(tmp_path)
    found = Finder(debug_dirs=(folder,)).locate(module)
    assert found.symbols == Symbols.FULL
    assert found.debug is not None
    assert found.debug.is_relative_to(folder)
    assert refine(layout, found)[1] == (NOT_BELIEVED, *MOVED)

    Path(module.path).unlink()  # the program is gone; its debug file still tells
    found = Finder(debug_dirs=(folder,)).locate(module)
    assert (found.symbols, found.file) == (Symbols.MISSING, None)
    assert refine(layout, found)[1] == (NOT_BELIEVED, *MOVED)


def test_a_debug_file_of_another_build_is_refused(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "other").mkdir()
    other = program(tmp_path / "other", "-g")
    module, folder = split(tmp_path, build_id_of=other)
    found = Finder(debug_dirs=(folder,)).locate(module)
    assert found.debug is not None
    refined, warnings = refine(layout, found)
    assert refined is layout
    assert warnings == (
        f"PHP's structures were not measured from {found.debug.name}: "
        f"it is of the build {ElfFile(Path(module.path)).build_id}, not {module.build_id}",
    )


def test_a_damaged_debug_file_is_one_warning(tmp_path: Path, layout: Layout) -> None:
    module, folder = split(tmp_path)
    found = Finder(debug_dirs=(folder,)).locate(module)
    assert found.debug is not None
    found.debug.write_bytes(found.debug.read_bytes()[:300])
    assert refine(layout, found) == (
        layout,
        (f"PHP's structures were not measured from {found.debug.name}: the debug information is damaged",),
    )


def test_more_disagreements_than_can_be_read_are_counted(tmp_path: Path, layout: Layout) -> None:
    elsewhere = {name: [offset + 8, size] for name, (offset, size) in (layout.places("op_array") or {}).items()}
    table = layout.replacing({"op_array": {"size": 256, "fields": elsewhere}})
    file = located(program(tmp_path, "-g"))
    refine(layout, file)
    kept = {"op_array": {"size": 248, "fields": layout.places("op_array")}}
    measured._cache_file(str(file.file and file.file.build_id)).write_text(json.dumps(kept))
    refined, warnings = refine(table, file)
    assert refined.places("op_array") == layout.places("op_array")
    assert len(warnings) == 6
    assert warnings[0].startswith("op_array.T lies at byte 56 (4 long) by PHP's debug information, at 64 (4 long)")
    assert warnings[5] == (
        f"PHP's debug information and the table of structures differ in {len(elsewhere) - 5} more places"
    )


# --- the cache


def test_a_build_is_measured_once(
    tmp_path: Path, cache: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = located(program(tmp_path, "-g", "-DCHANGED"))
    first = refine(layout, file)
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert file.file is not None
    assert kept.name.startswith(f"{file.file.build_id}-")

    def unexpected(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(measured, "DebugTypes", unexpected)
    again = refine(layout, file)
    assert again[1] == first[1]
    assert again[0].places("vm_stack") == first[0].places("vm_stack")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"vm_stack": 3}', '{"vm_stack": {"size": 24}}', '{"no": {"size": 1, "fields": {}}}',
        '{"vm_stack": {"size": -24, "fields": {}}}', '{"vm_stack": {"size": 24, "fields": {"top": [0]}}}',
        '{"vm_stack": {"size": 24, "fields": {"top": [true, 8]}}}', '{"vm_stack": {"size": 1e3, "fields": {}}}',
        '{"vm_stack": {"size": 24, "fields": {"top": [99999999999, 8]}}}', "[" * 100_000, "\x00\xff",
    ],
)  # fmt: skip
def test_a_cache_that_is_not_sound_is_made_anew(tmp_path: Path, cache: Path, layout: Layout, text: str) -> None:
    file = located(program(tmp_path, "-g", "-DCHANGED"))
    expected = refine(layout, file)[1]
    (kept,) = cache.iterdir()
    sound = kept.read_text()
    kept.write_bytes(text.encode("latin-1"))
    assert refine(layout, file)[1] == expected
    assert kept.read_text() == sound


def test_without_a_cache_folder_it_is_measured_each_time(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    file = located(program(tmp_path, "-g", "-DCHANGED"))
    assert refine(layout, file)[1] == refine(layout, file)[1] == (NOT_BELIEVED, *MOVED)
