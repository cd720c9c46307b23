"""From what a person types to a query, or to a sentence that says what is wrong with it.

    query := token*            token := ["!"] key ":" value | ["!"] word | ["!"] '"' text '"'
    value := alternative ("," alternative)*       alternative := text | '"' text '"'

Tokens must all hold. A word without a key is looked for in the title, the script's functions and files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from triage import clock
from triage.errors import UsageError
from triage.query.keys import KEYS, Key, Kind

_TOKEN = re.compile(r'\s*(?P<token>(?:"[^"]*"|[^\s"])+)')
_PART = re.compile(r'((?:"[^"]*"|[^,"])*)(?:,|$)')
_KEYED = re.compile(r"([A-Za-z_]+):(?!:|//)(.*)", re.DOTALL)  # not Cart::merge, not http://
_AGE = re.compile(r"(\d{1,6})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers or times from `low` to `high`, both included; `None` is open."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Whether the value is in it."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: any of `values` (or `ranges`) of `key`; `key` is empty for a word alone."""

    key: str
    values: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions that must all hold, and the order wanted."""

    text: str = ""
    terms: tuple[Term, ...] = ()
    sort: str = "last"


def parse_query(text: str, *, now: datetime | None = None) -> Query:
    """The query that `text` is; ages such as `24h` count back from `now`.

    Raises:
        UsageError: for a key, word, number or time that is none; says what was probably meant.
    """
    at = now or clock.now()
    terms, sort = [], "last"
    for token in _tokens(text):
        term = _term(token, at)
        if term.key == "sort":
            sort = term.values[0]
        else:
            terms.append(term)
    return Query(text=text.strip(), terms=tuple(terms), sort=sort)


def _tokens(text: str) -> Iterator[str]:
    if text.count('"') % 2:
        raise UsageError('a quotation mark (") is not closed', help='Write it as key:"two words".')
    for found in _TOKEN.finditer(text):
        yield found["token"]


def _term(token: str, now: datetime) -> Term:
    negated, body = token.startswith("!"), token.removeprefix("!")
    keyed = _KEYED.fullmatch(body)
    if keyed is None:
        return Term(key="", values=(_unquoted(body),), negated=negated)
    key = _key(keyed[1].lower())
    values = tuple(_unquoted(part[1]) for part in _PART.finditer(keyed[2]) if part[1])
    if not values:
        raise UsageError(f"{key.name}: has no value", help=f"For example {key.example}")
    if key.kind is Kind.WORD:
        values = tuple(_word(key, value) for value in values)
    if key.kind in (Kind.NUMBER, Kind.TIME):
        ranges = tuple(_range(key, value, now) for value in values)
        return Term(key=key.name, ranges=ranges, negated=negated)
    return Term(key=key.name, values=values, negated=negated)


def _unquoted(value: str) -> str:
    return value.replace('"', "")


def _key(name: str) -> Key:
    key = KEYS.get(name)
    if key is None:
        close = difflib.get_close_matches(name, KEYS, n=1, cutoff=0.5)
        guess = f"Did you mean {close[0]}:? " if close else ""
        raise UsageError(f"there is no key {name}:", help=f"{guess}Keys: {', '.join(KEYS)}")
    return key


def _word(key: Key, value: str) -> str:
    words = [word for word, _ in key.words]
    if value.lower() not in words:
        close = difflib.get_close_matches(value.lower(), words, n=1, cutoff=0.5)
        guess = f"Did you mean {key.name}:{close[0]}? " if close else ""
        raise UsageError(f"{key.name}: does not know {value!r}", help=f"{guess}It takes {', '.join(words)}")
    return value.lower()


def _range(key: Key, value: str, now: datetime) -> Range:
    low, dots, high = value.partition("..")
    if dots:
        return Range(_low(key, low, now) if low else None, _high(key, high, now) if high else None)
    sign, rest = (value[0], value[1:].lstrip("=")) if value[:1] in ("<", ">") else ("", value)
    inclusive = value[1:2] == "="
    if key.kind is Kind.NUMBER:
        return _numbers(sign, _number(key, rest), inclusive)
    return _times(key, sign, rest, now)


def _numbers(sign: str, number: float, inclusive: bool) -> Range:  # noqa: FBT001
    step = 0 if inclusive else 1
    if sign:
        return Range(low=number + step) if sign == ">" else Range(high=number - step)
    return Range(number, number)


def _times(key: Key, sign: str, value: str, now: datetime) -> Range:
    """`7d`: within the last seven days; `>30d`: longer ago; `2026-08-19`: on that day; `>2026-08-19`: later."""
    if _AGE.fullmatch(value):
        moment = _low(key, value, now)
        return Range(high=moment) if sign == ">" else Range(low=moment)
    start, end = _low(key, value, now), _high(key, value, now)
    if sign:
        return Range(low=end) if sign == ">" else Range(high=start)
    return Range(start, end)


def _low(key: Key, value: str, now: datetime) -> float:
    return _number(key, value) if key.kind is Kind.NUMBER else _moment(key, value, now).timestamp()


def _high(key: Key, value: str, now: datetime) -> float:
    if key.kind is Kind.NUMBER:
        return _number(key, value)
    moment = _moment(key, value, now)
    whole_day = len(value) == len("2026-08-19") and "-" in value
    return (moment + _DAY).timestamp() - 1e-6 if whole_day else moment.timestamp()


def _number(key: Key, value: str) -> float:
    if not value.isascii() or not value.isdigit() or len(value) > 15:
        raise UsageError(f"{key.name}: needs a number, not {value!r}", help=f"For example {key.example}, n:5..10")
    return float(value)


def _moment(key: Key, value: str, now: datetime) -> datetime:
    age = _AGE.fullmatch(value)
    try:
        if age:
            return now - timedelta(seconds=int(age[1]) * _SECONDS[age[2]])
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{key.name}: needs an age or a day, not {value!r}",
            help=f"For example {key.name}:24h, {key.name}:7d, {key.name}:2026-08-19, {key.name}:>30d",
        ) from error
