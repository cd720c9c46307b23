"""The filter language: what is understood, and what is said where it is not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from tests.unit.guarded import ROOT
from triage.errors import UsageError
from triage.model import Cluster, Crash, CrashRow, Frame, Request, Runtime, Signal, Status, Thread, Worker
from triage.query import KEYS, Kind, Query, Term, crash_matches, facts_of, keys_help, parse_query
from triage.query.parse import Range

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = 86400.0
TODAY = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


def terms(text: str) -> tuple[Term, ...]:
    return parse_query(text, now=NOW).terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("memcpy", (Term("", ("memcpy",)),)),
        ("!memcpy", (Term("", ("memcpy",), negated=True),)),
        ("App\\Cart::merge", (Term("", ("App\\Cart::merge",)),)),
        ('"two words" x', (Term("", ("two words",)), Term("", ("x",)))),
        ("IS:Open", (Term("is", ("open",)),)),
        ("host:web1,web2 !host:web3", (Term("host", ("web1", "web2")), Term("host", ("web3",), negated=True))),
        ('note:"a, b",c', (Term("note", ("a, b", "c")),)),
        ("opt:opcache.jit=1255", (Term("opt", ("opcache.jit=1255",)),)),
        ("bug:https://x/1", (Term("bug", ("https://x/1",)),)),
        ("n:7", (Term("n", (), (Range(7, 7),)),)),
        ("n:>7", (Term("n", (), (Range(8, None),)),)),
        ("n:<=7", (Term("n", (), (Range(None, 7),)),)),
        ("n:1..3,9..", (Term("n", (), (Range(1, 3), Range(9, None))),)),
        ("last:1d", (Term("last", (), (Range(NOW.timestamp() - DAY, None),)),)),
        ("last:>1d", (Term("last", (), (Range(None, NOW.timestamp() - DAY),)),)),
        ("first:2026-11-24", (Term("first", (), (Range(TODAY, TODAY + DAY - 1e-6),)),)),
        ("first:<2026-11-24", (Term("first", (), (Range(None, TODAY),)),)),
        ("first:>2026-11-24", (Term("first", (), (Range(TODAY + DAY - 1e-6, None),)),)),
        ("first:2026-11-24T02:00+02:00..", (Term("first", (), (Range(TODAY, None),)),)),
    ],
)
def test_what_is_typed_is_understood(text: str, expected: tuple[Term, ...]) -> None:
    assert terms(text) == expected


def test_the_order_is_not_a_condition() -> None:
    assert parse_query(" sort:n is:new ", now=NOW) == Query("sort:n is:new", (Term("is", ("new",)),), "n")


@pytest.mark.parametrize(
    ("text", "message", "help_"),
    [
        ("extt:redis", "there is no key extt:", "Did you mean ext:? Keys: is, id, sig,"),
        ("is:opn", "is: does not know 'opn'", "Did you mean is:open? It takes open, new, known,"),
        ("sort:size", "sort: does not know 'size'", "It takes last, first, n"),
        ("n:many", "n: needs a number, not 'many'", "For example n:>100, n:5..10"),
        ("n:9999999999999999", "n: needs a number, not '9999999999999999'", "For example"),
        ('n:""', "n: needs a number, not ''", "For example"),
        ('last:""', "last: needs an age or a day, not ''", "For example"),
        ("n:²", "n: needs a number, not '²'", "For example"),
        ("last:soon", "last: needs an age or a day, not 'soon'", "For example last:24h, last:7d,"),
        ("last:999999w", "last: needs an age or a day, not '999999w'", "For example"),
        ("host:", "host: has no value", "For example host:web3"),
        ("host:,", "host: has no value", "For example host:web3"),
        ('note:"open', 'a quotation mark (") is not closed', 'Write it as key:"two words".'),
    ],
)
def test_what_is_wrong_is_said_with_what_was_meant(text: str, message: str, help_: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_query(text, now=NOW)
    assert caught.value.message == message
    assert (caught.value.help or "").startswith(help_)


def test_every_key_has_an_example_that_is_understood_and_a_meaning() -> None:
    for key in KEYS.values():
        parse_query(key.example, now=NOW)
        assert key.help
        assert bool(key.words) == (key.kind is Kind.WORD)
    assert [word for word, example, meaning in keys_help() if not (example and meaning)] == []


CRASH = Crash(
    id="aa01", core="/c", status=Status.OK, time=NOW, host="web1", pid=1, executable="/php", build_id=None,
    arguments=(), signal=Signal(number=11, name="SIGSEGV"), modules=(), cluster="C-1",
    runtime=Runtime(
        name="php", version="8.2.29", sapi="fpm-fcgi", script="/srv/app/public/index.php",
        request=Request(method="GET", uri="/cart/add"), worker=Worker(pool="www-a"),
        extensions=MappingProxyType({"redis": "6.0.2", "apcu": None}),
        options=MappingProxyType({"opcache.jit": "1255", "zend.x": None}),
    ),
    threads=(Thread(id=1, name=None, crashed=True, depth=3, truncated=False, frames=(
        Frame(kind="native", function="zend_gc_run", module="/php"),
        Frame(kind="php", function="merge", class_name="App\\Cart", file="/srv/app/src/Cart.php", line=8),
        Frame(kind="native", function=None, module="/php", offset=1),
    )),),
)  # fmt: skip
ROW = CrashRow(
    id="aa01", core="/c", status=Status.OK, time=NOW, host="web1", pid=1, executable="/php", signal="SIGSEGV",
    runtime="php 8.2.29", script="/srv/app/public/index.php", cluster="C-1", title="zend_gc_run ◂ Cart::merge",
)  # fmt: skip
OWN = Cluster(id="C-1", title="zend_gc_run", signature="v1", count=5, first_seen=NOW, last_seen=NOW)


def test_the_facts_of_a_crash() -> None:
    assert facts_of(CRASH) == {
        ("status", "ok"), ("signal", "SIGSEGV"), ("fn", "zend_gc_run"),
        ("phpfn", "App\\Cart::merge"), ("phpfn", "merge"),
        ("phpfile", "/srv/app/src/Cart.php"), ("phpfile", "/srv/app/public/index.php"),
        ("sapi", "fpm-fcgi"), ("pool", "www-a"), ("uri", "/cart/add"),
        ("ext", "redis@6.0.2"), ("ext", "apcu"), ("opt", "opcache.jit=1255"), ("opt", "zend.x"),
    }  # fmt: skip
    long = replace(CRASH, runtime=Runtime(name="php", sapi="x" * 1000))
    assert ("sapi", "x" * 200) in facts_of(long)


@pytest.mark.parametrize(
    "text",
    ["ext:redis", "ext:redis@6", "ext:redis@6.0.*", "ext:apcu", "opt:opcache.jit", "opt:opcache.jit=1255",
     "opt:opcache.*", "phpfn:merge", "phpfn:Cart::merge", "phpfn:app\\cart::MERGE", "phpfile:src/cart", "uri:/cart",
     "pool:www-*", "sapi:fpm-fcgi", "fn:ZEND_GC_RUN", "php:8.2", "last:1h", "is:new", "n:5", "cart.php", "gc_run",
     "id:C-1", "id:aa01", "sig:merge", "signal:sigsegv", "!is:partial", "kind:x,y !host:web1", ""],
)  # fmt: skip
def test_a_crash_is_selected_by_what_is_in_it(text: str) -> None:
    query = parse_query(text, now=NOW)
    assert crash_matches(query, ROW, OWN, lambda: CRASH) == (text != "kind:x,y !host:web1")


@pytest.mark.parametrize(
    "text",
    ["ext:redi", "ext:redis@6.1", "opt:opcache", "opt:opcache.jit=12", "phpfn:Cart", "fn:zend_gc", "pool:www",
     "php:8.2.2", "last:>1h", "is:fixed", "is:partial", "n:4", "nothing", "!ext:redis", "bug:*", "note:*"],
)  # fmt: skip
def test_and_not_by_what_is_not(text: str) -> None:
    assert not crash_matches(parse_query(text, now=NOW), ROW, OWN, lambda: CRASH)


def test_a_record_is_read_only_when_the_row_does_not_tell() -> None:
    def whole() -> Crash:
        raise AssertionError

    assert crash_matches(parse_query("host:web1 php:8 is:new sig:gc last:1d", now=NOW), ROW, OWN, whole)


def test_signs_of_patterns_are_plain_text() -> None:
    row = replace(ROW, title="a[0] (b) $x .*")
    for text in ("a[0]", "(b)", "$x", "sig:.*"):
        assert crash_matches(parse_query(text, now=NOW), row, OWN, lambda: CRASH)
    assert not crash_matches(parse_query("sig:a.0", now=NOW), row, OWN, lambda: CRASH)


def test_the_page_of_keys_is_as_the_registries_are() -> None:
    done = subprocess.run([sys.executable, "scripts/keys", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run scripts/keys"
