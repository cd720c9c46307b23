"""What the diagnosis says of real bugs of PHP, held against what valgrind says of the same tests.

    python -m tests.lab.realbugs [FOLDER]       run them all, print the table (about six minutes)

valgrind runs the test with PHP's allocator switched off, so addresses inside the heap differ, and a
block that was freed is never used again: where PHP's own heap hands freed memory out, the two may
die of the same mistake in another place. What must agree is the kind of access, its size, and an
address near NULL.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab import phpt
from triage.config import Settings
from triage.diagnose.wording import is_copy
from triage.model import Crash
from triage.pipeline import Pipeline

_TOP = 1 << 64
_NEAR = 65536
_ACCESS = re.compile(r"Invalid (read|write) of size (\d+)")
_ADDRESS = re.compile(r"^ *(?:Address|at address) 0x([0-9a-fA-F]+)", re.M)
# A mapping that is there but may not be used so: valgrind does not say whether it was a read or a write.
_REFUSED = re.compile(r"Bad permissions for mapped region at address 0x([0-9a-fA-F]+)")
_FORBIDDEN = "refused"
_HEAP = re.compile(r"Address 0x\w+ is (\d.*(?:free'd|alloc'd))")


@dataclass(frozen=True, slots=True)
class Fatal:
    """How valgrind saw the process die: the last access it reported; `heap` what it said of earlier ones."""

    kind: str
    size: int | None = None
    address: int | None = None
    heap: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """One bug: what each of the two says, and whether they agree (`None`: valgrind cannot tell)."""

    name: str
    ours: str
    theirs: str
    agree: bool | None


def fatal(log: str) -> Fatal | None:
    """The end of the process in valgrind's words; `None` when it did not die under valgrind."""
    text = re.sub(r"^==\d+== ?", "", log, flags=re.M)
    blocks = [block for block in text.split("\n\n") if block.strip()]
    heap = next((found[1] for block in blocks if (found := _HEAP.search(block))), None)
    if "Process terminating" not in text:
        return Fatal("survived", heap=heap) if heap else None
    if "Stack overflow in thread" in text or "can't grow stack" in text:
        return Fatal("stack overflow", heap=heap)
    before = text.split("Process terminating")[0]
    last = [block for block in before.split("\n\n") if block.strip()][-1:]
    found = _ACCESS.search(last[0]) if last else None
    address = _ADDRESS.search(last[0]) if last else None
    at = int(address[1], 16) if address else None
    if last and "Jump to the invalid address" in last[0]:
        return Fatal("jump", address=at, heap=heap)
    if found:
        return Fatal(found[1], int(found[2]), at, heap)
    refused = _REFUSED.search(text)
    if refused:
        return Fatal(_FORBIDDEN, address=int(refused[1], 16), heap=heap)
    signal = re.search(r"default action of signal (\d+)", text)
    return Fatal(f"signal {signal[1]}" if signal else "died", heap=heap)


def ours(crash: Crash) -> Fatal:
    """The same of our reading of the core."""
    rule = next((finding.rule for finding in crash.findings), "")
    if rule == "stack-overflow":
        return Fatal("stack overflow")
    if crash.fault is None:
        return Fatal(f"signal {crash.signal.number}" if crash.signal else "died")
    if crash.fault.kind == "execute":
        return Fatal("jump", address=crash.fault.address)
    top = next((frame for thread in crash.threads if thread.crashed for frame in thread.frames), None)
    # valgrind has copying routines of its own, which work byte by byte.
    own_size = crash.fault.operand is not None and not (top is not None and is_copy(top))
    size = crash.fault.operand.size if crash.fault.operand and own_size else None
    return Fatal(crash.fault.kind.value, size, crash.fault.address)


def agree(mine: Fatal, other: Fatal) -> bool:
    """Whether the two describe one access. Addresses count where they do not depend on the heap."""
    if other.kind == _FORBIDDEN:
        return mine.kind in ("read", "write", "read and write") and not _near(mine)
    if mine.kind != other.kind:
        return False
    if mine.size is not None and other.size is not None and mine.size != other.size:
        return False
    return not (_near(mine) or _near(other)) or mine.address == other.address


def _near(found: Fatal) -> bool:
    return found.address is not None and not _NEAR <= found.address < _TOP - _NEAR


def words(found: Fatal) -> str:
    """A line about it."""
    size = f" of {found.size} bytes" if found.size else ""
    place = f" at {found.address:#x}" if found.address is not None else ""
    return f"{found.kind}{size}{place}" + (f"; earlier: {found.heap}" if found.heap else "")


def deadly(tree: Path, run: Path) -> Iterator[phpt.Test]:
    """The tests that kill this machine's PHP, as they are, or else with the JIT on."""
    for test in phpt.tests(tree):
        for way in (test, test.with_jit()):
            if phpt.dies(way, run):
                yield way
                break


def compare(folder: Path) -> Iterator[Compared]:
    """Every test that kills this machine's PHP."""
    tree = phpt.source()
    with Pipeline(Settings()) as pipeline:
        for test in deadly(tree, folder / "run"):
            core = phpt.core_of(test, folder)
            crash = pipeline.triage(core).crash if core else None
            if core is None or crash is None:
                continue
            core.unlink()
            mine = ours(crash)
            told = [f for f in crash.findings if f.topic in ("fault", "clue", "damage")]
            rules = ", ".join(f"{finding.rule} ({finding.confidence})" for finding in told)
            other = fatal(phpt.valgrind(test, folder / "run"))
            if other is None or other.kind == "survived":
                said = "does not die" + (f"; sees {other.heap}" if other and other.heap else "")
                yield Compared(test.name, f"{rules}: {words(mine)}", said, None)
            else:
                yield Compared(test.name, f"{rules}: {words(mine)}", words(other), agree(mine, other))


def main(argv: list[str]) -> int:
    """Print the table; 0 when there are at least 30 bugs."""
    rows = []
    with tempfile.TemporaryDirectory(dir=argv[1] if len(argv) > 1 else None) as place:
        for row in compare(Path(place)):
            mark = {True: "agree   ", False: "DIFFER  ", None: "alone   "}[row.agree]
            print(f"{mark} {row.name:<12} triage:   {row.ours}\n{'':22}valgrind: {row.theirs}", flush=True)
            rows.append(row)
    count = [sum(row.agree is which for row in rows) for which in (True, False, None)]
    print(f"{len(rows)} bugs: {count[0]} agree, {count[1]} differ, {count[2]} do not die under valgrind")
    return 0 if len(rows) >= 30 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
