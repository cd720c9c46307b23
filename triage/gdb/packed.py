"""What goes to and fro between us and our commands inside GDB: a JSON object, deflated, in base64.

GDB reads its input one byte at a time and writes its output one character at a time, and MI puts a sign before
every quotation mark: a stack's names and files, the same again and again, shrink to a fifth.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

_LEVEL = 1
_MOST = 64 * 1024 * 1024  # bytes of JSON, from a process that reads what it was given by who knows whom


class Damaged(ValueError):
    """A text that is no such object."""


def pack(value: Mapping[str, object]) -> str:
    """A JSON object as one word."""
    return base64.b64encode(zlib.compress(json.dumps(value, separators=(",", ":")).encode(), _LEVEL)).decode()


def unpack(text: str) -> dict[str, Any]:
    """The object in one word.

    Raises:
        Damaged: when it is cut off, is something else, or holds more than 64 MiB.
    """
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(base64.b64decode(text, validate=True), _MOST)
        if not stream.eof:
            raise Damaged("it is cut off or too long")
        value = json.loads(raw)
    except (ValueError, RecursionError, zlib.error) as error:
        raise Damaged(str(error)) from error
    if not isinstance(value, dict):
        raise Damaged("it is no object")
    return value
