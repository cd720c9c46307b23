"""One core from the kernel's pipe into the folder.

The facts about the process are written first and always; the core is left out when its program has
crashed too often, or when the disk is nearly full. Nothing is analysed here.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from triage.collect import keep, rights
from triage.collect.keep import Bounds
from triage.collect.process import Gone, Proc
from triage.corefile.sources.collected import FORMAT, SUFFIX

_CHUNK = 1 << 20
_LOOK_EVERY = 64
_NAME = re.compile(r"[^A-Za-z0-9._+-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the kernel says on the command line: see core(5) for the letters."""

    pid: int
    user: int
    signal: int
    time: float
    host: str
    executable: str


def take(told: Told, stream: BinaryIO, folder: Path, bounds: Bounds) -> Path:
    """Keep what is known, and the core if it is wanted; returns the file with the facts.

    Raises:
        OSError: when the folder cannot be written to.
    """
    facts = {**_facts(told), "format": FORMAT, "core": None}
    rights.give_up(folder)
    program = str(facts.get("executable") or told.executable)
    stem = f"{_NAME.sub('_', program.rsplit('/', 1)[-1])[:64] or 'unknown'}-{told.pid}-{int(told.time)}"
    place = folder / f"{stem}{SUFFIX}"
    with keep.locked(folder):
        chosen, count = keep.wanted(folder, program, told.time, bounds)
        facts["count"] = count
        facts["left_out"] = _why_not(folder, bounds, chosen=chosen, count=count)
        _write(place, facts)
    if facts["left_out"] is None:
        target = folder / f"{stem}.core.zst"
        size, cut = _store(stream, target, bounds)
        facts |= {"core": target.name, "size": size, "cut": cut}
        with keep.locked(folder):
            _write(place, facts)
            keep.make_room(folder, bounds)
    return place


def _facts(told: Told) -> dict[str, Any]:
    known: dict[str, Any] = {
        "pid": told.pid,
        "user": told.user,
        "signal": told.signal,
        "time": told.time,
        "host": told.host,
        "executable": told.executable or None,
    }
    try:
        process = Proc(told.pid)
    except Gone as gone:
        return {**known, "process": str(gone)}
    try:
        found = process.facts()
    except Gone as gone:
        return {**known, "process": str(gone)}
    finally:
        process.close()
    return {**known, **{name: value for name, value in found.items() if value is not None}}


def _why_not(folder: Path, bounds: Bounds, *, chosen: bool, count: int) -> str | None:
    if not chosen:
        return f"this program crashed {count} times within {bounds.window} s: every {bounds.nth}th core is kept"
    if keep.free(folder) < bounds.reserve:
        return f"only {keep.free(folder)} bytes are free on the disk"
    return None


def _store(stream: BinaryIO, target: Path, bounds: Bounds) -> tuple[int, str | None]:
    """`(bytes taken, why it was cut or None)`; under its name only once it is whole."""
    descriptor, temporary = tempfile.mkstemp(prefix=".#core.", dir=target.parent)
    size, cut, chunks = 0, None, 0
    try:
        with os.fdopen(descriptor, "wb") as out:
            with zstandard.ZstdCompressor(level=1).stream_writer(out, closefd=False) as packer:
                while chunk := stream.read(_CHUNK):
                    chunks += 1
                    if size + len(chunk) > bounds.largest:
                        cut = f"it is larger than {bounds.largest} bytes"
                        break
                    if chunks % _LOOK_EVERY == 0 and keep.free(target.parent) < bounds.reserve:
                        cut = "the disk was nearly full"
                        break
                    packer.write(chunk)
                    size += len(chunk)
            os.fsync(out.fileno())
        Path(temporary).replace(target)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    return size, cut


def _write(place: Path, facts: Mapping[str, Any]) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".#facts.", dir=place.parent)
    with os.fdopen(descriptor, "w") as out:
        json.dump(facts, out)
    Path(temporary).replace(place)
