"""Structures found in debug information of every shape, whole and damaged."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.native import SOURCES
from triage.errors import InputError
from triage.symbols.dwarf import DebugTypes

Places = dict[str, tuple[int, int]]
SHAPES = (
    ("-gdwarf-4",),
    ("-gdwarf-5",),
    ("-gdwarf-4", "-gz"),
    ("-gdwarf-5", "-fdebug-types-section"),
    ("-gdwarf-5", "-gdwarf64"),
    ("-gdwarf-5", "-gsplit-dwarf"),
)
READ = SHAPES[:3]


def program(folder: Path, *flags: str) -> Path:
    """fixtures/c/structures.c as a program."""
    made = folder / "structures"
    command = ["gcc", *flags, "-Wl,--build-id", "-o", str(made), str(SOURCES / "structures.c")]
    subprocess.run(command, check=True, cwd=folder)
    return made


def described(path: Path) -> dict[str, tuple[int, Places | None] | None]:
    """Size and some places of the structures in a file."""
    wanted = {
        "struct _zval_struct": ("value", "u1.type_info", "u1.v.extra", "u2.num_args", "u2.nothing", "u2.next.more"),
        "struct _zend_vm_stack": ("top", "pages", "end", "prev"),
        "struct _zend_llist_element": ("prev", "data"),
        "nameless": ("first", "second", "raw", "kept.u1.v", "kept.u2"),
        "nothing": (),
    }
    types = DebugTypes(path)
    found: dict[str, tuple[int, Places | None] | None] = {}
    for name, fields in wanted.items():
        structure = types.structure(name)
        found[name] = None if structure is None else (structure.size, structure.places(fields))
    return found


EXPECTED = {
    "struct _zval_struct": (
        16,
        {"value": (0, 8), "u1.type_info": (8, 4), "u1.v.extra": (10, 2), "u2.num_args": (12, 4)},
    ),
    "struct _zend_vm_stack": (24, {"top": (0, 8), "end": (8, 8), "prev": (16, 8)}),
    "struct _zend_llist_element": (24, {"prev": (8, 8), "data": (16, 1)}),
    "nameless": (24, {"first": (0, 4), "second": (0, 4), "raw": (0, 0), "kept.u1.v": (16, 4), "kept.u2": (20, 4)}),
    "nothing": None,
}


@pytest.mark.parametrize("flags", READ, ids=" ".join)
def test_structures_are_found_whatever_the_format(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert described(program(tmp_path, *flags)) == EXPECTED


@pytest.mark.parametrize("flags", SHAPES[3:], ids=" ".join)
def test_what_is_kept_elsewhere_is_missing_and_never_wrong(tmp_path: Path, flags: tuple[str, ...]) -> None:
    found = described(program(tmp_path, *flags))
    wrong = {name: entry for name, entry in found.items() if entry != EXPECTED[name]}
    assert all(entry is None or entry[1] is None for entry in wrong.values()), wrong


def test_arrays_and_changes_are_measured(tmp_path: Path) -> None:
    found = described(program(tmp_path, "-g", "-DCHANGED"))["struct _zend_vm_stack"]
    assert found == (48, {"top": (0, 8), "pages": (8, 24), "end": (32, 8), "prev": (40, 8)})


def test_enumerators_have_their_values(tmp_path: Path) -> None:
    types = DebugTypes(program(tmp_path, "-g"))
    assert types.enumerators("enum colour") == {"red": 3, "green": -7}
    assert types.enumerators("enum no_such") == {}


def test_a_common_part_kept_apart_by_dwz_is_read(tmp_path: Path) -> None:
    """Distributions that pack debug files with dwz move what several of them share into one more file."""
    pair = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        pair.append(program(tmp_path / name, "-gdwarf-5"))
    shared = tmp_path / "shared.debug"
    try:
        subprocess.run(["dwz", "-m", str(shared), "-M", "../shared.debug", *map(str, pair)], check=True)
    except FileNotFoundError:
        pytest.skip("no dwz here: apt install dwz")
    assert described(pair[0]) == EXPECTED
    shared.write_bytes(pair[1].read_bytes())  # of another build-id: not to be read
    assert described(pair[0]) != EXPECTED


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "missing"),
        (b"", "damaged-debug-info"),
        (b"\x7fELF", "damaged-debug-info"),
        (b"x" * 999, "damaged-debug-info"),
    ],
)
def test_what_is_no_debug_file_is_refused(tmp_path: Path, text: bytes | None, code: str) -> None:
    path = tmp_path / "file"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError) as raised:
        DebugTypes(path)
    assert raised.value.code == code


def test_a_program_without_debug_information_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        DebugTypes(program(tmp_path, "-g0", "-s"))
    assert raised.value.code == "no-debug-info"


def test_damage_neither_hangs_nor_escapes(tmp_path: Path) -> None:
    path = program(tmp_path, "-gdwarf-4")
    whole = path.read_bytes()
    begin = whole.index(b"GNU C17") - 6000  # the debug sections lie around their strings
    chance = random.Random(8)
    started, survived = time.process_time(), 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 4, 40))):
            damaged[chance.randrange(max(begin, 64), len(whole))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(damaged)
        try:
            described(path)
            survived += 1
        except InputError:
            pass  # what a caller expects
    assert survived > 0
    assert time.process_time() - started < 60
