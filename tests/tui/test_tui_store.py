"""The interface over a store that is slow, broken for a while, or changed by others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.samples import at, crash, triaged
from tests.tui.driver import Screen, drive, store_at
from triage.errors import TriageError
from triage.model import Cluster, Crash, Decision, State
from triage.query import Query
from triage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_at(tmp_path) as store:
        for number in range(3):
            store.save(triaged(crash(f"c0ffee0{number}", host=f"web-{number}", time=at(number))), None)
        yield store


class Through:
    """A store behind which tests put their obstacles."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Held(Through):
    """Reading the crash `slow` takes until `go` is set."""

    slow = "c0ffee01"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.go = threading.Event()

    def crash(self, id_or_prefix: str) -> Crash:
        if id_or_prefix == self.slow:
            assert self.go.wait(10)
        return self.store.crash(id_or_prefix)


class Busy(Through):
    """The list cannot be read while `busy`."""

    busy = True

    def clusters(self, query: Query | None = None, *, members: bool = True) -> list[Cluster]:
        if self.busy:
            raise TriageError("the store is busy")
        return self.store.clusters(query, members=members)


def test_a_slow_answer_does_not_replace_a_later_one(store: Store) -> None:
    held = Held(store)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter")
        await screen.pilot.press("right_square_bracket", "right_square_bracket")  # over the slow one
        await screen.until("3 of 3")
        held.go.set()
        await screen.settle()
        assert "web-0" in screen.text
        assert "web-1" not in screen.text
        await screen.press("y", "i")
        assert screen.app.clipboard == "c0ffee00"

    drive(held, script)


def test_the_id_copied_is_that_of_the_crash_on_screen(store: Store) -> None:
    held = Held(store)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter")
        await screen.pilot.press("right_square_bracket")
        await screen.pilot.press("y", "i")  # the next one is not there yet
        assert "1 of 3" in screen.lines()[0]
        assert screen.app.clipboard == "c0ffee02"
        held.go.set()

    drive(held, script)


def test_it_recovers_by_itself(store: Store) -> None:
    busy = Busy(store)

    async def script(screen: Screen) -> None:
        await screen.until("the store is busy")
        busy.busy = False
        await asyncio.sleep(1.1)
        await screen.until("1 cluster, 3 crashes")

    drive(busy, script)


def test_the_preview_follows_a_mark(store: Store) -> None:
    async def script(screen: Screen) -> None:
        await screen.until("web-0, web-1, web-2")
        store.mark(store.clusters()[0].id, Decision(state=State.KNOWN, at=at(0), note="look at ticket 7"))
        screen.app.watch_store()
        await screen.until("look at ticket 7")

    drive(store, script)


def test_where_a_frame_is_keeps_its_line(store: Store) -> None:
    found = crash("feed0001", time=at(9))
    file = f"/srv/{'folder/' * 20}src/ShoppingCartCheckoutController.php"
    frame = found.threads[0].frames[0]._replace(kind="php", file=file, line=12345)
    store.save(triaged(replace(found, threads=(replace(found.threads[0], frames=(frame,)),))), None)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter")
        lines = screen.lines()
        assert any("PHP  zend_execute" in line and line.rstrip().endswith(":12345") for line in lines)
        assert any(line.startswith(" file      …") and line.endswith(".php:12345") for line in lines)
        assert any(line.startswith(" address   0x55d040") for line in lines)  # not pushed out
        assert lines[-1].endswith("? keys")

    drive(store, script)
