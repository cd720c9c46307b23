"""Column types that bring back exactly what was put in, on both databases."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Text from a core or a file name may hold what a database refuses: PostgreSQL has no NUL,
# neither has lone surrogates (Python's spelling of undecodable file-name bytes). Those, and the
# mark itself, are spelled MARK + four hex digits; all other text is stored as it is.
_MARK = "\x10"
_REFUSED = re.compile("[\x00\x10\ud800-\udfff]")
_SPELLED = re.compile("\x10([0-9a-f]{4})")


def spell(text: str) -> str:
    """`text` as it is stored."""
    return _REFUSED.sub(lambda found: f"{_MARK}{ord(found[0]):04x}", text)


def unspell(stored: str) -> str:
    """The inverse of `spell`."""
    return _SPELLED.sub(lambda found: chr(int(found[1], 16)), stored)


DIGEST_LENGTH = 64


def digest(text: str) -> str:
    """SHA-256 of `text` in hex: a key of fixed width, for PostgreSQL indexes no long values."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Exact(TypeDecorator[str]):
    """Text of any characters whatever."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else spell(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else unspell(value)


class Moment(TypeDecorator[datetime]):
    """A time, as microseconds since 1970 in UTC: exact, and it sorts as a number everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND
