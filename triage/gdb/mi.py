"""GDB/MI records, parsed by pygdbmi behind a guard.

pygdbmi loops for ever on a list that is cut off (`^done,a=[`) and quietly accepts a cut-off
tuple. A GDB that dies in mid-line prints exactly such records, so each line is proven to be
balanced, and of bearable size and depth, before the parser sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pygdbmi import gdbmiparser
from pygdbmi.gdbescapes import unescape

MAX_LINE = 64 * 1024 * 1024
MAX_DEPTH = 100
_STREAMS = {"~": "console", "@": "target", "&": "log"}
_CLOSING = {"}": "{", "]": "["}


class BrokenRecord(ValueError):
    """A line that is not a whole MI record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One MI record. `type` is result, console, log, target, notify or output; `message` e.g. `done`."""

    type: str
    message: str | None
    payload: Any
    token: int | None


def parse(line: str) -> Record:
    """Parse one line GDB printed.

    Raises:
        BrokenRecord: when it is cut off, unbalanced, too long or too deep.
    """
    check(line)
    if line[:1] in _STREAMS:
        return Record(_STREAMS[line[0]], None, _text(line[2:-1]), None)
    try:
        raw = gdbmiparser.parse_response(line)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise BrokenRecord(f"GDB printed a record that cannot be parsed: {error}") from error
    token = raw.get("token")
    return Record(str(raw["type"]), raw.get("message"), raw.get("payload"), token)


def _text(escaped: str) -> str:
    """A stream record's text. pygdbmi takes quadratic time for what follows the last escape."""
    last = escaped.rfind("\\")
    cut = last + 2 if last >= 0 else 0  # the last escape's sign, or the second half of a doubled backslash
    if last > 0 and (last + 1 - len(escaped[: last + 1].rstrip("\\"))) % 2 == 0:
        cut = last + 1
    elif escaped[last + 1 : last + 4].isdigit() and cut:
        cut = last + 4
    try:
        return unescape(escaped[:cut]) + escaped[cut:]
    except (ValueError, TypeError, KeyError, IndexError, AssertionError) as error:
        raise BrokenRecord(f"GDB printed a text that cannot be read: {error}") from error


def check(line: str) -> None:
    """Prove that quotes, braces and brackets of a line are balanced, in one pass.

    Raises:
        BrokenRecord: when they are not.
    """
    if len(line) > MAX_LINE:
        raise BrokenRecord(f"GDB printed a record of {len(line)} characters, more than {MAX_LINE}")
    if line[:1] in ("~", "@", "&"):
        _check_string(line)
    elif line.lstrip("0123456789")[:1] in ("^", "*", "+", "="):
        _check_nesting(line)


def _check_string(line: str) -> None:
    """A stream record is one C string: from the second character to the end of the line."""
    if len(line) < 3 or line[1] != '"' or line[-1] != '"':
        raise BrokenRecord("GDB printed a text record that is cut off")
    slashes = len(line) - 1 - len(line[:-1].rstrip("\\"))
    if slashes % 2:
        raise BrokenRecord("GDB printed a text record that is cut off")


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]|[A-Za-z_][\w-]*=|\s+', re.DOTALL)


def _check_nesting(line: str) -> None:
    """Prove the payload's grammar: `name=value` or values, separated by commas, in lists and tuples."""
    at = line.find(",")
    stack: list[str] = []
    before = ","  # the token before: what may follow depends on it
    while 0 <= at < len(line):
        token = _TOKEN.match(line, at)
        if token is None:
            raise BrokenRecord("GDB printed a record that is cut off")
        at, text = token.end(), token[0]
        if text.isspace():
            continue
        kind = text if text in "[]{}," else text[0] if text[0] == '"' else "="
        if kind in '"{[' and before != "=" and stack[-1:] != ["["]:
            raise BrokenRecord("GDB printed a value without its name")
        if kind in "{[":
            stack.append(kind)
            if len(stack) > MAX_DEPTH:
                raise BrokenRecord("GDB printed a record that is nested too deeply")
        elif kind in "}]" and (not stack or stack.pop() != _CLOSING[kind]):
            raise BrokenRecord("GDB printed a record whose brackets do not match")
        if kind not in _FOLLOW[before]:
            raise BrokenRecord("GDB printed a record that is cut off")
        before = kind
    if stack or before == "=":
        raise BrokenRecord("GDB printed a record that is cut off")


_FOLLOW = {
    **dict.fromkeys(",", '"{[=,'),
    "[": '"{[=]',
    "{": '"{[=}',
    "=": '"{[',
    **dict.fromkeys('"]}', ",]}"),
}
