"""Crashes with everything a screen may show, and stores full of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.store.samples import at, crash, triaged
from triage.explain import Part, Statement
from triage.model import (
    Confidence,
    Crash,
    Decision,
    Finding,
    Frame,
    HeapCheck,
    Module,
    Request,
    Runtime,
    State,
    Status,
    Symbols,
    Thread,
    Worker,
)
from triage.store import Store

# What `triage why` may say; that it says it rightly is tested where it is made.
INSIGHT = (
    Part("What goes with it", (Statement("opcache.jit=1255: 9 of 9 crashes, 31 % of workers.", ("p = 0.0003",)),)),
    Part("What changed", (Statement("php8.2 8.2.28 → 8.2.29, eleven minutes before.", ("dpkg",)),)),
    Part("Is it known", (Statement("Much like GH-17654.", ("3 frames",), Confidence.LIKELY),)),
)
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
_DAY = 86_400


def php(name: str, line: int | None = None, class_name: str | None = None) -> Frame:
    file = "/srv/shop/src/Cart.php" if line else None
    return Frame(kind="php", function=name, class_name=class_name, file=file, line=line)


FRAMES = (
    Frame(kind="native", function="__memset_evex", module="/lib/libc.so.6", offset=0x16E040, address=0x7F00,
          trust="context"),
    php("memset", class_name="FFI"),
    php("total", 41, "Shop\\Cart"),
    Frame(kind="native", function="zif_array_map", module="/usr/bin/php8.2", offset=0x2257BF, address=0x55F0,
          trust="cfi"),
    php("array_map"),
    php("{main}", 7),
)  # fmt: skip
FINDING = Finding(
    rule="null-pointer",
    title="Native code used a pointer that was NULL",
    confidence=Confidence.LIKELY,
    evidence=("the faulting address is 0x10 bytes above NULL",),
    explanation="C code expected a record and got nothing.",
    next_steps=("Check what the call passes.",),
)


def whole(id_: str = "c0ffee01", **changes: object) -> Crash:
    """A crash of php-fpm with a stack, a request, settings and a finding."""
    runtime = Runtime(
        name="php", version="8.2.29", sapi="fpm-fcgi", script="/srv/shop/public/index.php",
        request=Request(method="POST", uri="/cart/checkout"), extensions={"redis": "6.0.2"},
        options={"memory_limit": "512M", "opcache.jit": "1255"}, worker=Worker(pool="www", requests=8113),
        heap=HeapCheck(state="intact", chunks=1, blocks=190, bytes=398_000),
    )  # fmt: skip
    found = replace(
        crash(id_, key="v1:memset", title="memset ◂ Shop\\Cart::total()"),
        threads=(Thread(id=7, name="php", crashed=True, depth=6, truncated=False, frames=FRAMES),),
        modules=(
            Module(path="/usr/bin/php8.2", build_id="c0ffee", start=0x55B000, end=0x560000, symbols=Symbols.DYNAMIC),
        ),
        findings=(FINDING,),
        runtime=runtime,
        warnings=("the core is cut off",),
        instruction="mov %rax,(%rdi)",
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def fill(store: Store, *crashes: Crash) -> None:
    for each in crashes:
        store.save(triaged(each), None)


def one(store: Store) -> None:
    """A single crash."""
    fill(store, whole())


def many(store: Store) -> None:
    """Fourteen clusters in all states; the first has crashes on several days, hosts and with other settings."""
    for number in range(9):
        kept = whole(f"c0ffee{number:02}", time=at(number * _DAY), host=f"web{number % 3 + 1}", pid=4000 + number)
        other = replace(kept.runtime, options={"memory_limit": "1G"}) if kept.runtime else None
        fill(store, kept if number % 4 else replace(kept, runtime=other))
    places = ("zend_gc_run", "php_redis_sock_read", "_php_image_create_from", "php_pcre_match_impl", "zend_hash_find")
    for number in range(13):
        title = f"{places[number % 5]} ◂ App\\Job{number}::run()"
        version = "8.4.1" if number % 2 else "8.2.29"
        fill(store, crash(f"aa{number:02}", key=f"v1:k{number:02}", title=title, time=at(number * 3600),
                          version=version))  # fmt: skip
    ids = {cluster.signature: cluster.id for cluster in store.clusters()}
    when = at(1)
    for number, decision in enumerate(
        (
            Decision(state=State.KNOWN, bug="https://bugs.example/17654", note="see the wiki", at=when, by="ann"),
            Decision(state=State.FIXED, at=when, by="ann"),
            Decision(state=State.IGNORED, until=">5/h", at=when, by="ann"),
            Decision(state=State.FIXED, fixed_in="v4.182", at=when, by="ann"),
            Decision(state=State.IGNORED, until="1 more", at=when, by="ann"),
        )
    ):
        store.mark(ids[f"v1:k{number + 1:02}"], decision)


def partial(store: Store) -> None:
    """What is left of a core that was cut off, and of one whose interpreter could not be read."""
    bare = whole(
        "dead0001", status=Status.PARTIAL, threads=(), findings=(), runtime=None, registers={}, modules=(),
        signature=None, host=None, time=None, instruction=None,
        warnings=("the core is cut off after 64 MB of 1.9 GB", "no stack could be read"),
    )  # fmt: skip
    named = whole(
        "dead0002", status=Status.PARTIAL, findings=(), runtime=Runtime(name="php"), time=None,
        warnings=("PHP's state could not be read: its build is not known",),
    )  # fmt: skip
    fill(store, bare, named)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)
