"""The interface as its user meets it: what is on the screen, and what the keys do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.binding import Binding

from tests.store.samples import START, at, crash, triaged
from tests.tui.driver import Screen, drive, store_at
from triage.errors import TriageError
from triage.model import Cluster, Confidence, Crash, CrashRow, Finding, Frame, Request, Runtime, Thread
from triage.store import Store
from triage.tui.actions import ACTIONS, EVERYWHERE, INBOX, bindings
from triage.tui.help import help_text
from triage.tui.inbox import InboxPlace
from triage.tui.rows import Rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_at(tmp_path) as store:
        yield store


def _php(kind: str, name: str, line: int | None = None, class_name: str | None = None) -> Frame:
    file = "/srv/shop/src/Cart.php" if line else None
    return Frame(kind=kind, function=name, class_name=class_name, file=file, line=line)


def _whole(id_: str = "c0ffee01") -> Crash:
    """A crash with everything a screen may show."""
    native = Frame(kind="native", function="zif_array_map", module="/usr/bin/php8.2", offset=0x2257BF, address=0x55F0)
    frames = (
        Frame(kind="native", function="__memset_evex", module="/lib/libc.so.6", offset=0x16E040, address=0x7F00),
        _php("php", "memset", class_name="FFI"),
        _php("php", "total", 41, "Shop\\Cart"),
        native,
        _php("php", "array_map"),
        _php("php", "{main}", 7),
    )
    finding = Finding(
        rule="null-pointer",
        title="Native code used a pointer that was NULL",
        confidence=Confidence.LIKELY,
        evidence=("the faulting address is 0x10 bytes above NULL",),
        explanation="C code expected a record and got nothing.",
        next_steps=("Check what the call passes.",),
    )
    runtime = Runtime(
        name="php", version="8.2.29", sapi="fpm-fcgi", script="/srv/shop/public/index.php",
        request=Request(method="POST", uri="/cart/checkout"), extensions={"redis": "6.0.2"},
        options={"memory_limit": "512M"},
    )  # fmt: skip
    return replace(
        crash(id_, key="v1:memset", title="memset ◂ Shop\\Cart::total()"),
        threads=(Thread(id=7, name="php", crashed=True, depth=6, truncated=False, frames=frames),),
        findings=(finding,),
        runtime=runtime,
        warnings=("the core is cut off",),
    )


def _fill(store: Store, *crashes: Crash) -> None:
    for each in crashes:
        store.save(triaged(each), None)


def test_the_way_from_inbox_to_crash_and_back(store: Store) -> None:
    _fill(store, _whole(), replace(_whole("c0ffee02"), time=at(60)), crash("aa01"))

    async def script(screen: Screen) -> None:
        assert screen.lines()[0].startswith(" triage  test.db   2 clusters, 3 crashes")
        assert "memset ◂ Shop\\Cart::total()" in screen.lines()[2]
        await screen.until("→ Check what the call passes.")
        assert "PHP code  Shop\\Cart::total() in /srv/shop/src/Cart.php:41" in screen.text
        await screen.press("enter")
        assert "2 crashes" in screen.text
        assert "2026-01-01 00:01:00  web-1" in screen.text
        await screen.press("l")
        assert screen.lines()[:8] == [
            " memset ◂ Shop\\Cart::total()   1 of 2",
            " Native code used a pointer that was NULL  likely",
            " → Check what the call passes.",
            " process   PHP 8.2.29 fpm-fcgi   pid 4242   web-1   2026-01-01T00:01:00Z",
            " request   POST /cart/checkout",
            " script    /srv/shop/public/index.php",
            " ! the core is cut off",
            "─" * 80,
        ]
        stack = [line.strip(" ▸▆▁▂▃▄▅▇█") for line in screen.lines()[9:15]]
        assert [line.split() for line in stack] == [
            ["C", "__memset_evex", "libc.so.6"],
            ["PHP", "FFI::memset()"],
            ["PHP", "Shop\\Cart::total()", "src/Cart.php:41"],
            ["C", "zif_array_map", "php8.2"],
            ["PHP", "array_map()"],
            ["PHP", "{main}", "src/Cart.php:7"],
        ]
        await screen.press("j", "j")
        assert " file      /srv/shop/src/Cart.php:41" in screen.lines()
        await screen.press("n")
        assert "2 of 2" in screen.lines()[0]
        await screen.press("n", "p")
        assert "1 of 2" in screen.lines()[0]
        await screen.press("q", "escape")
        assert isinstance(screen.app.screen, InboxPlace)
        await screen.press("q")
        assert screen.app._exit

    drive(store, script)


def test_native_frames_can_be_hidden(store: Store) -> None:
    _fill(store, _whole())

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter", "a")
        assert screen.app.screen.query_one(Rows).row_count == 4
        assert "zif_array_map" not in screen.text
        await screen.press("a")
        assert screen.app.screen.query_one(Rows).row_count == 6

    drive(store, script)


def test_everything_as_text(store: Store) -> None:
    _fill(store, _whole())

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter", "t")
        await screen.until("What happened")
        assert "redis 6.0.2" in screen.text
        assert "memory_limit=512M" in screen.text
        assert "rip      0x000000000055d040" in screen.text
        assert "/usr/bin/php" in screen.text

    drive(store, script, size=(100, 70))


def test_the_filter(store: Store) -> None:
    _fill(store, _whole(), crash("aa01", key="v1:other", title="zend_gc ◂ other()"))

    async def script(screen: Screen) -> None:
        await screen.press("slash", *"cart tot".replace(" ", "§"))
        assert screen.app.screen.query_one(Rows).row_count == 0  # '§' is no blank
        await screen.press(*["backspace"] * 8, *"CART", "space", *"tot")
        assert screen.lines()[2].endswith("memset ◂ Shop\\Cart::total()")
        assert screen.app.screen.query_one(Rows).row_count == 1
        assert "filter: cart tot" in screen.lines()[0]
        await screen.press("enter", "j", "escape")
        assert screen.app.screen.query_one(Rows).row_count == 2
        assert "filter:" not in screen.lines()[0]

    drive(store, script)


def test_new_crashes_appear_and_the_cursor_stays(store: Store) -> None:
    many = [crash(f"aa{n:02}", key=f"v1:k{n}", title=f"place {n}", time=at(n)) for n in range(40)]
    _fill(store, *many)

    async def script(screen: Screen) -> None:
        await screen.press(*["j"] * 25)
        table = screen.app.screen.query_one(Rows)
        chosen, top = table.current, table.scroll_y
        assert top > 0
        _fill(store, crash("bb01", key="v1:new", title="the new one", time=at(99)))
        screen.app.watch_store()
        await screen.settle()
        await screen.until("41 clusters")
        assert table.current == chosen
        assert table.row_count == 41
        assert table.keys.index(str(chosen)) == 26  # one row further down than before
        await screen.pilot.pause(0.2)
        assert abs(table.scroll_y - top) <= 1
        assert "the new one" not in screen.text  # it is at the top, out of sight
        await screen.press(*["k"] * 26)
        assert "the new one" in screen.lines()[2]

    drive(store, script)


def test_it_watches_by_itself(store: Store) -> None:
    async def script(screen: Screen) -> None:
        await screen.until("No crashes yet.")
        assert "triage batch /var/crash" in screen.text
        await asyncio.sleep(1.2)
        _fill(store, _whole())
        await screen.until("1 cluster, 1 crash")
        await screen.until("memset ◂ Shop\\Cart::total()")
        assert "No crashes yet." not in screen.text

    drive(store, script)


HOSTILE = (
    "[red]x[/]", "[/nope]", "[@click=app.quit]push[/]",
    "\x1b[31mred", "\x1b]0;title\x07", "a\u202eb\u2066c", "\x9b31m",
    "new\nline\ttab", "\udc80lone", "w" * 5000, "$(reboot)", ":smile:",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_strings_are_only_shown(store: Store, text: str) -> None:
    """A core's strings may hold markup, escape sequences and worse."""
    stored = text.encode("utf-8", "backslashreplace").decode()  # as the reader of the core hands them on
    found = _whole()
    frame = Frame(kind="php", function=stored, class_name=stored, file=stored, line=1, note=stored)
    runtime = Runtime(
        name="php", version=stored, sapi=stored, script=stored, request=Request(method=stored, uri=stored),
        extensions={stored: stored}, options={stored: stored},
    )  # fmt: skip
    finding = Finding(
        rule="x", title=stored, confidence=Confidence.GUESS, evidence=(stored,), explanation=stored,
        next_steps=(stored,),
    )  # fmt: skip
    hostile = replace(
        found, host=stored, core=stored, executable=stored, arguments=(stored,), runtime=runtime, warnings=(stored,),
        findings=(finding,), signature=replace(found.signature, title=stored) if found.signature else None,
        threads=(replace(found.threads[0], name=stored, frames=(frame,)),),
    )  # fmt: skip
    _fill(store, hostile)

    async def script(screen: Screen) -> None:
        await screen.until("guess")
        for keys in (("enter",), ("enter",), ("t",), ("escape",)):
            await screen.press(*keys)
            for line in screen.lines():
                assert line.isprintable(), repr(line)
        if "@click" in stored:
            for y in range(24):
                await screen.pilot.click(offset=(12, y))
        assert not screen.app._exit
        if len(stored) < 30 and stored.isprintable():
            assert stored in screen.text.replace("\n", "")

    drive(store, script)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 5), (200, 50)])
def test_every_size_works(store: Store, size: tuple[int, int]) -> None:
    _fill(store, _whole(), crash("aa01"))

    async def script(screen: Screen) -> None:
        for keys in (("j", "k"), ("enter",), ("enter",), ("t",), ("question_mark",), ("escape",), ("escape",)):
            await screen.press(*keys)
            assert all(len(line) <= size[0] for line in screen.lines())

    drive(store, script, size=size)


def test_a_low_terminal_still_shows_the_list(store: Store) -> None:
    _fill(store, _whole())

    async def script(screen: Screen) -> None:
        for row in ("▸ new", "▸ 2026-01-01", "▸ C"):
            assert any(line.startswith(row) for line in screen.lines()), screen.text
            await screen.press("enter")

    drive(store, script, size=(40, 12))


def test_beside_each_other_where_there_is_room(store: Store) -> None:
    _fill(store, _whole())

    async def script(screen: Screen) -> None:
        await screen.until("Check what the call passes.")
        row = next(line for line in screen.lines() if "Native code used" in line)
        assert row.index("Native code used") > 90

    drive(store, script, size=(160, 40))


class Broken:
    """A store whose disk has gone."""

    def clusters(self) -> list[Cluster]:
        raise TriageError("the store cannot be read: [bold]disk[/] error", help="Check the disk.")

    def cluster(self, id_or_prefix: str) -> Cluster:
        raise AssertionError(id_or_prefix)

    def crash(self, id_or_prefix: str) -> Crash:
        raise AssertionError(id_or_prefix)

    def crash_rows(self, cluster: str | None = None, limit: int = 500, offset: int = 0) -> list[CrashRow]:
        raise AssertionError(cluster)

    def revision(self) -> object:
        raise TriageError("the store cannot be read")


def test_an_error_of_the_store_is_a_notice() -> None:
    async def script(screen: Screen) -> None:
        await screen.until("[bold]disk[/]")
        await screen.press("r")
        assert not screen.app._exit

    drive(Broken(), script)


def test_every_action_is_bound_and_explained() -> None:
    for place in EVERYWHERE:
        bound = {binding.action for binding in bindings(place) if isinstance(binding, Binding)}
        wanted = {action.name for action in ACTIONS if place in action.where}
        assert bound == wanted
        page = help_text(place).plain
        assert all(action.help in page and action.key_text in page for action in ACTIONS)
    keys = [key for action in ACTIONS if INBOX in action.where for key in action.keys]
    assert len(keys) == len(set(keys))


def test_no_color_means_no_color(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _fill(store, _whole())

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter")
        assert screen.app.no_color

    drive(store, script)
    assert START.year == 2026
