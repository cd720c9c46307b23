"""Reports of apport: /var/crash/….crash.

Text of `Key: value` lines, continued by lines that begin with a space; binary values say `base64`
and follow in base64, line by line, as one gzip or zstd stream (older ones: a bare zlib stream).
Keys are looked up in a closed list: nothing a report says becomes a path or a command.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

from triage import clock
from triage.corefile.sources import streams
from triage.errors import InputError
from triage.model import Origin
from triage.text import from_bytes, number

_BEGINNING = b"ProblemType:"
_CORE = b"CoreDump"
_KEYS = {
    b"ProblemType", b"Date", b"ExecutablePath", b"InterpreterPath", b"ProcCmdline", b"ProcStatus", b"Package",
    b"CrashCounter", b"ProcCgroup",
}  # fmt: skip
_LONGEST_LINE = 64 << 20
_LONGEST_VALUE = 1 << 16
_ONE = re.compile(r"(?m)^(Pid|Uid):\s+(\d+)")


def is_report(head: bytes) -> bool:
    """Whether a file that begins with `head` is such a report."""
    return head.startswith(_BEGINNING)


def read_report(stream: BinaryIO) -> tuple[Origin, str, BinaryIO]:
    """`(what it tells, how the core is compressed, the compressed core)`; the stream is left at the core.

    Raises:
        InputError: `no-core` or `damaged`.
    """
    facts: dict[bytes, str] = {}
    key = b""
    while line := stream.readline(_LONGEST_LINE):
        if line.startswith(b" "):
            if key in _KEYS and len(facts[key]) < _LONGEST_VALUE:
                facts[key] += "\n" + from_bytes(line[1:].rstrip(b"\n"))
            continue
        key, colon, value = line.partition(b":")
        if not colon:
            raise InputError("damaged", "a damaged report of apport: a line in it has no key")
        if key == _CORE and value.strip() == b"base64":
            core = _Decoded(stream)
            try:
                kind = streams.compression(core.peek()) or "zlib"
            except ValueError as error:
                raise InputError("damaged", f"a damaged report of apport: the core in it is no {error}") from error
            return _origin(facts), kind, cast(BinaryIO, io.BufferedReader(core))
        if key in _KEYS:
            facts[key] = from_bytes(value.strip())
    raise _without_core(facts)


def _without_core(facts: Mapping[bytes, str]) -> InputError:
    kind = facts.get(b"ProblemType", "")
    if kind != "Crash":
        return InputError("no-core", f"apport's report of {kind!r}, not of a crash")
    return InputError(
        "no-core",
        "a report of apport without a core",
        help="apport leaves out cores that are too large, or when the disk was nearly full.",
    )


def _origin(facts: Mapping[bytes, str]) -> Origin:
    status = dict(_ONE.findall(facts.get(b"ProcStatus", "")))
    died = clock.written(facts.get(b"Date", ""), "%a %b %d %H:%M:%S %Y")
    return Origin(
        kind="apport",
        time=died,
        time_from="report" if died else None,
        pid=number(status.get("Pid", "")),
        user=number(status.get("Uid", "")),
        executable=facts.get(b"InterpreterPath") or facts.get(b"ExecutablePath") or None,
        arguments=_words(facts.get(b"ProcCmdline", "")),
        package=facts.get(b"Package") or None,
        occurrences=number(facts.get(b"CrashCounter", "")),
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())


class _Decoded(io.RawIOBase):
    """The bytes behind the base64 lines that follow in a stream, up to the next key."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = self._decoded(stream)
        self._held = b""

    def readable(self) -> bool:
        return True

    def peek(self) -> bytes:
        """What comes next, without taking it."""
        if not self._held:
            self._held = next(self._lines, b"")
        return self._held

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # typeshed: any writable buffer
        piece = self.peek()[: len(view)]
        view[: len(piece)] = piece
        self._held = self._held[len(piece) :]
        return len(piece)

    def _decoded(self, stream: BinaryIO) -> Iterator[bytes]:
        while (line := stream.readline(_LONGEST_LINE)).startswith(b" "):
            try:
                data = base64.b64decode(line, validate=False)
            except binascii.Error as error:
                raise ValueError(f"base64: {error}") from error
            if data:
                yield data
