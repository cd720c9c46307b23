"""Drives the interface without a terminal and reads its screen as lines of text."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual import events
from textual.color import Color
from textual.keys import _character_to_key, key_to_character
from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import WorkerCancelled

from triage.store import Store, open_store
from triage.tui.app import TriageApp
from triage.tui.settings import Ui

Script = Callable[["Screen"], Awaitable[None]]
_PATIENCE = 100
_MOMENT = 0.01  # seconds


class Screen:
    """The running interface."""

    def __init__(self, app: TriageApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.notices: list[str] = []  # all that were ever told: on a busy machine they are gone before they are seen
        tell = app.notify

        def notify(message: str, **more: Any) -> None:
            self.notices.append(message)
            tell(message, **more)

        app.notify = notify  # type: ignore[method-assign]

    def lines(self) -> list[str]:
        """What is on the screen, line by line, without trailing blanks."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines())

    def filtered(self) -> list[Segment]:
        """All of the screen as the terminal gets it, after the filter that the application added last."""
        shade = Color.parse("#000000")
        strips = self.app.screen._compositor.render_strips()
        return [segment for strip in strips for segment in self.app._filters[-1].apply(list(strip), shade)]

    async def tap(self, key: str) -> None:
        """Press one key, and wait until the screen has answered: not until what it reads beside has come.

        Not Pilot.press, which waits in steps of 20 ms until the whole process is idle.
        """
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        event = events.Key(name, key if len(key) == 1 else key_to_character(key))
        event.set_sender(self.app)
        assert self.app._driver is not None
        self.app._driver.send_message(event)
        for _ in range(4):  # from the application to the screen, to a widget, and back to what that tells
            await self.pilot._wait_for_screen()
        self.app.screen._on_timer_update()

    async def press(self, *keys: str) -> None:
        """Press keys and wait until nothing moves any more."""
        for key in keys:
            await self.tap(key)
            await self._answered()
        await self.settle()

    async def _answered(self) -> None:
        """Wait for what the last key had read; whether all is still is for `settle`, which takes longer."""
        for _ in range(3):  # a screen that opens begins to read only then, and draws what it read after that
            try:
                await self.app.workers.wait_for_complete()
            except WorkerCancelled:
                pass  # overtaken by a later one
            await self.pilot.pause(_MOMENT)

    async def fill(self, text: str, *keys: str) -> None:
        """Put a text into the field that has the keys, in place of what is there: a long one takes long to type."""
        field = self.app.screen.focused
        assert isinstance(field, Input)
        field.value = text
        await self.press(*keys)

    async def settle(self) -> None:
        """Wait until the workers are done and the screen is drawn."""
        for _ in range(2):
            try:
                await self.app.workers.wait_for_complete()
            except WorkerCancelled:
                pass  # overtaken by a later one, which the next round waits for
            await self.pilot.pause()

    async def told(self, words: str) -> None:
        """Wait until a notice says some words, however it is broken into lines."""
        for _ in range(_PATIENCE):
            if any(words in message for message in self.notices):
                return
            await asyncio.sleep(0.05)
            await self.pilot.pause()
        raise AssertionError(f"{words!r} was not told: {self.notices}")

    async def until(self, words: str) -> None:
        """Wait until some words are on the screen."""
        for _ in range(_PATIENCE):
            if words in self.text:
                return
            await asyncio.sleep(0.05)
            await self.pilot.pause()
        raise AssertionError(f"{words!r} did not appear:\n{self.text}")


def drive(
    reader: Any,
    script: Script,
    *,
    size: tuple[int, int] = (80, 24),
    label: str = "test.db",
    ui: Ui | None = None,
    store: str | None = None,
) -> None:
    """Run the interface over a store and let `script` use it; what asks the store by its name finds an empty one."""

    async def run(folder: str) -> None:
        app = TriageApp(reader, label=label, ui=ui, store=store or f"sqlite:///{folder}/nowhere.db")
        async with app.run_test(size=size, notifications=True) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await script(screen)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(folder))


def store_at(folder: Path) -> Store:
    """A new, empty store."""
    return open_store(f"sqlite:///{folder / 'triage.db'}")
