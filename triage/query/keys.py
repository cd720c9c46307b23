"""Every key of the filter language, once: parsing, matching, help and documentation go by this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a value is compared. Upper and lower case are the same everywhere, `*` stands for anything.

    `exact`: the whole value. `version`: the value or the beginning of it up to a dot (`8.2` has `8.2.29`).
    `part`: any part of it. `number` and `time`: `>n`, `<n`, `a..b`. `word`: one of a few words.
    """

    EXACT = "exact"
    VERSION = "version"
    PART = "part"
    NUMBER = "number"
    TIME = "time"
    WORD = "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key. `fact` tells that it is asked of what is in the crashes, not of the cluster's own record;
    `words` are the values a WORD key takes, each with its meaning."""

    name: str
    kind: Kind
    help: str
    example: str
    fact: bool = False
    words: tuple[tuple[str, str], ...] = ()


IS = (
    ("open", "needs a look: new, regressed, or ignored no longer"),
    ("new", "nobody has decided yet"),
    ("known", "somebody marked it known"),
    ("fixed", "somebody marked it fixed"),
    ("ignored", "somebody marked it ignored"),
    ("regressed", "crashed again where its fix is rolled out"),
    ("awake", "was ignored until something that has happened"),
    ("pending", "fixed, and still crashing where the fix is not rolled out"),
    ("spiking", "crashed much more often in the last day than it uses to"),
    ("mine", "you decided about it last"),
    ("partial", "some of its crashes could be read in part only"),
)
SORT = (
    ("last", "the one that crashed last first"),
    ("first", "the one that began last first"),
    ("n", "the one with most crashes first"),
    ("hosts", "the one on most hosts first"),
    ("state", "what needs a look first: regressed, awake, spiking, new"),
    ("title", "by where they died"),
)

KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key(name="is", kind=Kind.WORD, help="the state, or what follows from it", example="is:open", words=IS),
        Key(name="id", kind=Kind.PART, help="the cluster's id", example="id:C-3f9a"),
        Key(name="sig", kind=Kind.PART, help="the title or the signature", example="sig:zend_mm*"),
        Key(name="top", kind=Kind.PART, help="where it died: the first part of the title", example="top:memcpy"),
        Key(name="n", kind=Kind.NUMBER, help="how many crashes", example="n:>100"),
        Key(name="last", kind=Kind.TIME, help="when it crashed last", example="last:24h"),
        Key(name="first", kind=Kind.TIME, help="when it crashed first", example="first:2026-08-19"),
        Key(name="bug", kind=Kind.PART, help="the bug somebody linked; bug:* for any", example="bug:17654"),
        Key(name="note", kind=Kind.PART, help="the note; note:* for any", example="note:jit"),
        Key(name="host", kind=Kind.EXACT, help="a host it crashed on", example="host:web3"),
        Key(name="php", kind=Kind.VERSION, help="the version of the interpreter", example="php:8.2"),
        Key(name="deploy", kind=Kind.PART, help="the deploy it crashed under, the newest then (triage event add)",
            example="deploy:v4.182", fact=True),
        Key(name="fn", kind=Kind.EXACT, help="any native function of the crashed stack", example="fn:zend_gc_run",
            fact=True),
        Key(name="phpfn", kind=Kind.EXACT, help="any function or method of the script in the crashed stack",
            example="phpfn:Cart::merge", fact=True),
        Key(name="phpfile", kind=Kind.PART, help="any file of the script in the crashed stack",
            example="phpfile:src/Checkout", fact=True),
        Key(name="uri", kind=Kind.PART, help="the path that was requested", example="uri:/cart", fact=True),
        Key(name="ext", kind=Kind.VERSION, help="a loaded extension, with its version if wanted",
            example="ext:redis@6.0.*", fact=True),
        Key(name="opt", kind=Kind.EXACT, help="an ini directive changed from its default, with its value if wanted",
            example="opt:opcache.jit=1255", fact=True),
        Key(name="sapi", kind=Kind.EXACT, help="how the interpreter runs", example="sapi:fpm-fcgi", fact=True),
        Key(name="pool", kind=Kind.EXACT, help="the pool of php-fpm", example="pool:www", fact=True),
        Key(name="signal", kind=Kind.EXACT, help="the signal", example="signal:SIGABRT", fact=True),
        Key(name="kind", kind=Kind.EXACT, help="what was found: the rule that a finding rests on",
            example="kind:null-pointer", fact=True),
        Key(name="status", kind=Kind.EXACT, help="ok, or partial where not everything could be read",
            example="status:partial", fact=True),
        Key(name="sort", kind=Kind.WORD, help="the order of the list", example="sort:n", words=SORT),
    )
}  # fmt: skip
FACT_KEYS = tuple(key.name for key in KEYS.values() if key.fact and key.name != "deploy")
"""Those that are kept with a cluster; deploys are not, as they may be recorded later."""


def keys_help() -> Iterator[tuple[str, str, str]]:
    """(what to write, an example, what it means) for every key and every word."""
    for key in KEYS.values():
        if not key.words:
            yield f"{key.name}:", key.example, key.help
        for word, meaning in key.words:
            yield f"{key.name}:{word}", f"{key.name}:{word}", meaning
