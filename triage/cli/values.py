"""Values on the command line that are more than a word."""

from __future__ import annotations

import pwd
import re

import click

from triage.errors import UsageError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.I)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class ByteCount(click.ParamType[int]):
    """A size such as `500M`, `20G` or `1048576`, in bytes; the units are powers of 1024."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        found = _SIZE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a size such as 500M or 20G", param, ctx)
        return int(float(found[1]) * _FACTORS[found[2].lower()])


def user_id(name: str) -> int:
    """The id of a user given by name or number. Raises UsageError."""
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"there is no user {name!r} here") from None
