"""Files as the keepers of cores write them: by their own tools where there are any here."""

from __future__ import annotations

import base64
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

TOOLS = {
    "gzip": ("gz", ("gzip", "-1", "-c")),
    "xz": ("xz", ("xz", "-0", "-c")),
    "zstd": ("zst", ("zstd", "-1", "-q", "-c")),
    "lz4": ("lz4", ("lz4", "-1", "-q", "-c")),
}
_BLOCK = 1 << 20


def compressed(core: Path, kind: str, folder: Path) -> Path:
    """The core compressed by the tool of that name."""
    suffix, argv = TOOLS[kind]
    target = folder / f"{core.name}.{suffix}"
    with core.open("rb") as source, target.open("wb") as out:
        subprocess.run(argv, stdin=source, stdout=out, check=True)
    return target


def apport_report(core: Path, target: Path, facts: Mapping[str, str], *, kind: str = "gzip") -> Path:
    """A report as apport's problem_report.py lays it out: text first, then the core in base64.

    It writes a gzip stream as header, blocks and trailer, each on a line of its own; newer ones zstd;
    those before 2010 a bare zlib stream.
    """
    lines = [f"ProblemType: {facts.get('ProblemType', 'Crash')}\n"]
    for key, value in sorted(facts.items()):
        if key != "ProblemType":
            first, *more = value.split("\n")
            lines += [f"{key}: {first}\n" if not more else f"{key}:\n {first}\n", *(f" {line}\n" for line in more)]
    with target.open("wb") as out:
        out.write("".join(lines).encode())
        out.write(b"CoreDump: base64\n")
        for block in _blocks(core, kind):
            out.write(b" " + base64.b64encode(block) + b"\n")
        out.write(b"UserGroups: N/A\n")
    return target


def _blocks(core: Path, kind: str) -> list[bytes]:
    data = core.read_bytes()
    if kind == "zlib":
        return [zlib.compress(data, 1)]
    if kind == "zstd":
        packed = subprocess.run(TOOLS["zstd"][1], input=data, capture_output=True, check=True).stdout
        return [packed[at : at + _BLOCK] for at in range(0, len(packed), _BLOCK)]
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, 0)
    blocks = [packer.compress(data[at : at + _BLOCK]) for at in range(0, len(data), _BLOCK)] + [packer.flush()]
    trailer = (zlib.crc32(data) & 0xFFFFFFFF).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return [b"\x1f\x8b\x08\0\0\0\0\0\x02\xff", *(block for block in blocks if block), trailer]


def abrt_problem(core: Path, folder: Path, elements: Mapping[str, str]) -> Path:
    """A problem folder as libreport lays it out: one file an element; returns its core."""
    folder.mkdir()
    for name, text in elements.items():
        (folder / name).write_text(text)
    target = folder / "coredump"
    target.write_bytes(core.read_bytes())
    return target
