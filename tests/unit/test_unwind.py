"""The unwind tables' reader: held against pyelftools on this machine's own libraries, and fed damage."""

from __future__ import annotations

import random
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile as PyElf

from triage.symbols.elffile import ElfFile
from triage.unwind.cfi import Step, Unreadable, step_at
from triage.unwind.expression import evaluate

_LIBC = next((path for path in Path("/usr/lib").glob("*/libc.so.6")), None)
_RETURN = 16
needs_libc = pytest.mark.skipif(_LIBC is None, reason="needs glibc")


def _rows(path: Path, every: int) -> list[tuple[int, dict[Any, Any]]]:
    """`(address, row)` of every n-th function, as pyelftools decodes them."""
    with path.open("rb") as stream:
        entries = PyElf(BytesIO(stream.read())).get_dwarf_info().EH_CFI_entries()
    functions = [entry for entry in entries if isinstance(entry, FDE)][::every]
    return [(row["pc"], row) for function in functions for row in function.get_decoded().table]


def _wanted(row: dict[Any, Any]) -> dict[str, Any]:
    rules = {key: rule for key, rule in row.items() if isinstance(key, int) and key <= _RETURN}
    cfa = row["cfa"]
    return {
        "cfa": bytes(cfa.expr) if cfa.expr is not None else (cfa.reg, cfa.offset),
        "saved": {key: rule.arg for key, rule in rules.items() if rule.type == "OFFSET"},
        "computed": {key: bytes(rule.arg) for key, rule in rules.items() if rule.type == "EXPRESSION"},
        "lost": {key for key, rule in rules.items() if rule.type == "UNDEFINED"},
    }


def _found(step: Step) -> dict[str, Any]:
    return {
        "cfa": step.expression if step.expression is not None else (step.base, step.offset),
        "saved": dict(step.saved),
        "computed": dict(step.computed),
        "lost": {*step.lost, *((_RETURN,) if step.outermost else ())},
    }


@needs_libc
def test_every_row_of_the_c_library_is_what_pyelftools_says() -> None:
    assert _LIBC is not None
    file = ElfFile(_LIBC)
    rows = _rows(_LIBC, every=3)
    assert len(rows) > 3000
    for address, row in rows:
        entry = file.frame_entry(address)
        assert entry is not None
        if any(getattr(rule, "type", None) == "REGISTER" for rule in row.values()):  # vfork's, in libc
            with pytest.raises(Unreadable, match="kind 'register'"):
                step_at(file.read, entry, address)
            continue
        step = step_at(file.read, entry, address)
        assert step is not None
        assert _found(step) == _wanted(row), hex(address)


@needs_libc
def test_a_damaged_table_is_refused_or_gives_a_step() -> None:
    assert _LIBC is not None
    file = ElfFile(_LIBC)
    symbol = file.symbols["qsort"]
    entry = file.frame_entry(symbol.address)
    assert entry is not None
    dice = random.Random(9)
    refused = 0
    for _ in range(3000):
        at, value = entry + dice.randrange(-40, 60), dice.randrange(256)

        def read(address: int, size: int, at: int = at, value: int = value) -> bytes | None:
            raw = file.read(address, size)
            if raw is None or not address <= at < address + size:
                return raw
            return raw[: at - address] + bytes([value]) + raw[at - address + 1 :]

        try:
            assert isinstance(step_at(read, entry, symbol.address + 8), Step | None)
        except Unreadable:
            refused += 1
    assert 0 < refused < 3000


def test_the_expression_of_a_lazy_linkage_table() -> None:
    """What every PLT has: the CFA is rsp+8, and 8 more behind the push at byte 11 of each 16-byte slot."""
    program = bytes.fromhex("77088000 3f1a3b2a3324 22".replace(" ", ""))
    registers = [0] * 17
    registers[7] = 0x1000
    for pc, cfa in ((0x5000, 0x1008), (0x500B, 0x1010), (0x500A, 0x1008)):
        registers[16] = pc
        assert evaluate(program, registers, lambda address: None) == cfa


def test_an_expression_reads_memory_and_begins_with_the_cfa() -> None:
    words = {0x2008: 0x1234}
    assert evaluate(b"\x23\x08\x06", [0] * 17, words.get, start=0x2000) == 0x1234


@pytest.mark.parametrize(
    "program",
    [b"", b"\x06", b"\x23", b"\x0c\x01", b"\x23" + b"\xff" * 20, b"\xe0", b"\x30\x06", b"\x22"],
    ids=bytes.hex,
)
def test_a_damaged_expression_is_refused(program: bytes) -> None:
    with pytest.raises(Unreadable):
        evaluate(program, [0] * 17, lambda address: None)


def test_signed_comparison_and_constants() -> None:
    minus_one = b"\x09\xff"
    assert evaluate(minus_one + b"\x31\x2d", [0] * 17, lambda address: None) == 1
    assert evaluate(b"\x0e" + struct.pack("<Q", 1 << 63) + b"\x30\x2b", [0] * 17, lambda address: None) == 0
