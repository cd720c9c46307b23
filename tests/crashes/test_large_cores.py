"""Cores with much of everything: the whole way of the program stays short and small."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.targets.whole import Whole
from tests.unit import makecore
from tests.unit.makecore import HEAP, PAGE, STACK, Core, Load, good

pytestmark = [pytest.mark.gdb]
_SECONDS = 10
_MEMORY = 500_000_000


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    place = tmp_path / "whole"
    place.mkdir()
    made = Whole(place, gdb=False)
    yield made
    assert made.close() == 0


def threads(count: int) -> Core:
    base = good()
    more = (makecore.prstatus(5000 + at, 0, {"rip": HEAP, "rsp": STACK + at * 8}) for at in range(count))
    return replace(base, notes=(*base.notes, *more))


def mappings(count: int) -> Core:
    """Every mapping under a name of its own, with a segment each as far as the file header can count them."""
    base = good()
    at = 0x6000_0000_0000
    files = [(at + n * 2 * PAGE, at + n * 2 * PAGE + PAGE, 0, b"/srv/m/%d.so" % n) for n in range(count)]
    loads = [Load(start, memory_size=PAGE, flags=makecore.PF_R) for start, *_ in files[:60_000]]
    notes = [raw for raw in base.notes if raw[8:12] != makecore.NT_FILE.to_bytes(4, "little")]
    return replace(base, notes=(*notes, makecore.nt_file(files)), loads=(*base.loads, *loads))


def modules(count: int) -> Core:
    """Every mapping an ELF file with a build-id."""
    base = good()
    at = 0x6000_0000_0000
    pages = [makecore.elf_page(n.to_bytes(20, "little"), span=PAGE) for n in range(count)]
    files = [(at + n * 2 * PAGE, at + n * 2 * PAGE + PAGE, 0, b"/srv/m/%d.so" % n) for n in range(count)]
    loads = [Load(start, page, flags=makecore.PF_R) for (start, *_), page in zip(files, pages, strict=True)]
    notes = [raw for raw in base.notes if raw[8:12] != makecore.NT_FILE.to_bytes(4, "little")]
    return replace(base, notes=(*notes, makecore.nt_file(files)), loads=(*base.loads, *loads))


def long_names() -> Core:
    hostile = b"/" + b"a/" * 2000 + "\n\x1b[2J\u202e<script>[@click=app.quit]`@all|".encode()
    base = good(arguments=(b"php", b"\x1b]0;title\x07", "\u202e[red]".encode(), b"x" * 200))
    files = [(0x6000_0000_0000 + n * PAGE, 0x6000_0000_0000 + (n + 1) * PAGE, 0, hostile) for n in range(50)]
    files.append((0x6100_0000_0000, 0x6100_0000_0000 + PAGE, 0, b"/" + b"m" * 1_000_000))
    notes = [raw for raw in base.notes if raw[8:12] != makecore.NT_FILE.to_bytes(4, "little")]
    pages = [Load(start, makecore.elf_page(bytes(20)), memory_size=PAGE, flags=makecore.PF_R) for start, *_ in files]
    return replace(base, notes=(*notes, makecore.nt_file(files)), loads=(*base.loads, *pages))


@pytest.mark.parametrize(
    "core",
    [
        pytest.param(threads(300), id="300 threads"),
        pytest.param(threads(5000), id="5000 threads"),
        pytest.param(mappings(100_000), id="100,000 mappings"),
        pytest.param(modules(3000), id="3000 modules"),
        pytest.param(long_names(), id="names that are long, nested and hostile"),
    ],
)
def test_much_of_it(core: Core, whole: Whole, tmp_path: Path) -> None:
    path = tmp_path / "large.core"
    path.write_bytes(core.build())
    os.utime(path, (1_700_000_000, 1_700_000_000))
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark is that of all tests so far: begin anew
    before, begun = _resident("VmRSS"), time.process_time()
    assert whole.take(path) == "partial"  # GDB was not asked
    assert time.process_time() - begun < _SECONDS
    assert _resident("VmHWM") - before < _MEMORY


def _resident(what: str) -> int:
    """Bytes of memory this process holds, or held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))
