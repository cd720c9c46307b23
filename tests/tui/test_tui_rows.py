"""The list: what is drawn, where the cursor is, and how much is read for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.text import Text

from tests.store.samples import at, crash, triaged
from tests.tui.driver import Screen, drive
from triage.model import CrashRow, Frame
from triage.store import Store
from triage.tui import look
from triage.tui.fit import crop
from triage.tui.rows import Rows
from triage.tui.tabs import fitted

_MANY = 620


class Counting:
    """A store that keeps a list of what was read from it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def crash_rows(self, cluster: str | None = None, limit: int = 500, offset: int = 0) -> list[CrashRow]:
        self.asked.append((offset, limit))
        return self.store.crash_rows(cluster, limit, offset)


def _many(store: Store) -> None:
    for number in range(_MANY):
        store.save(triaged(replace(crash(f"id{number:05}"), time=at(number), core=f"/c/{number}", pid=number)), None)


def _list(screen: Screen) -> Rows:
    shown = [rows for rows in screen.app.screen.query(Rows) if all(w.display for w in rows.ancestors_with_self)]
    return shown[0]


def test_many_crashes_are_there_at_once_and_read_as_they_are_seen(store: Store) -> None:
    _many(store)
    counting = Counting(store)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5")
        counting.asked.clear()
        await screen.press("j", "pagedown", "end")
        assert _list(screen).row_count == _MANY
        assert screen.lines()[-2].startswith("▸ 2026-01-01 00:00:00")  # the oldest, in the last line
        # Other tabs ask for the newest crash; of the list, only what is seen is read. A refresh may read it again,
        # and on a busy machine it may have begun before the keys came.
        assert {*counting.asked} - {(0, 1), (0, 500)} == {(_MANY - _list(screen).page - 200, 500)}
        await screen.press("k", "enter")
        assert f"{_MANY - 1} of {_MANY}" in screen.lines()[0]
        await screen.press("right_square_bracket")  # the next one lies outside what the list had read at first
        assert "pid 0 " in screen.text
        await screen.press("escape", "home")
        assert screen.lines()[-3 - _list(screen).page + 2].startswith("▸ 2026-01-01 00:10:19")

    drive(counting, script)


def test_the_view_stays_while_crashes_come_in(store: Store) -> None:
    _many(store)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5", "end", "k", "k")
        before = [line for line in screen.lines() if "2026-01-01 00:0" in line and "last seen" not in line]
        for number in range(3):
            store.save(triaged(crash(f"new{number}", time=at(9000 + number))), None)
        screen.app.watch_store()
        await screen.until(f"{_MANY + 3} crashes")
        await screen.settle()
        after = [line for line in screen.lines() if "2026-01-01 00:0" in line and "last seen" not in line]
        assert after == before
        assert _list(screen).current == "id00002"
        await screen.press("home")
        assert _list(screen).current == "new2"

    drive(store, script)


def test_a_click_moves_and_the_next_opens(store: Store) -> None:
    for number in range(5):
        store.save(triaged(crash(f"aa0{number}", time=at(number))), None)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "5")
        for _ in range(2):
            assert "5 crashes" in screen.text
            await screen.pilot.click("#crashes", offset=(10, 3))
            await screen.settle()
        assert "3 of 5" in screen.lines()[0]

    drive(store, script)


def test_only_php_frames_keeps_the_cursor_on_its_frame(store: Store) -> None:
    found = crash("aa01")
    frames = tuple(
        Frame(kind=kind, function=f"f{number}", module="/usr/bin/php", address=number)
        for number, kind in enumerate(("native", "native", "php", "native", "php", "php"))
    )
    store.save(triaged(replace(found, threads=(replace(found.threads[0], frames=frames),))), None)

    async def script(screen: Screen) -> None:
        def chosen() -> str:
            return next(line for line in screen.lines() if line.startswith("▸")).split()[3]

        await screen.press("enter", "enter", *["j"] * 4)
        assert chosen() == "f4()"
        await screen.press("t")
        assert chosen() == "f4()"
        await screen.press("t")
        assert chosen() == "f4()"
        await screen.press("k")
        assert chosen() == "f3"
        await screen.press("t")  # hidden now: its nearest caller
        assert chosen() == "f4()"

    drive(store, script)


def test_frames_differ_in_colour_too(store: Store) -> None:
    found = crash("aa01")
    frames = tuple(Frame(kind=kind, function=kind, address=1) for kind in ("native", "native", "php"))
    store.save(triaged(replace(found, threads=(replace(found.threads[0], frames=frames),))), None)

    async def script(screen: Screen) -> None:
        await screen.press("enter", "enter")
        rows = _list(screen)

        def colours(y: int) -> set[str]:
            return {
                segment.style.color.name
                for segment in rows.render_line(y)
                if segment.text.strip() and segment.style and segment.style.color
            }

        assert look.NATIVE in colours(2)  # the cursor is on the line before
        assert look.PHP in colours(3)

    drive(store, script)


@pytest.mark.parametrize(
    ("text", "width", "keep", "cropped"),
    [
        ("short", 5, "start", "short"),
        ("too long", 5, "start", "too …"),
        ("src/Cart.php:41", 9, "end", "…t.php:41"),
        ("漢字漢字", 5, "start", "漢字…"),
        ("漢字漢字", 4, "end", "…字"),
        ("anything", 1, "end", "…"),
    ],
)
def test_crop(text: str, width: int, keep: str, cropped: str) -> None:
    assert crop(Text(text), width, keep=keep).plain == cropped


def test_titles_of_tabs_are_cut_but_the_open_one() -> None:
    titles = ["Stack", "Explained", "PHP", "Registers"]
    assert fitted(titles, 0, 40) == titles
    assert fitted(titles, 1, 20) == ["Sta…", "Explained", "PHP", "Reg…"]
    assert fitted(titles, 3, 1) == ["Sta…", "Exp…", "PHP", "Registers"]
