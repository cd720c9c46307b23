"""Drives the interface without a terminal and reads its screen as lines of text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from triage.store import Store, open_store
from triage.tui.app import TriageApp
from triage.tui.reader import Reader

Script = Callable[["Screen"], Awaitable[None]]
_PATIENCE = 100


class Screen:
    """The running interface."""

    def __init__(self, app: TriageApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def lines(self) -> list[str]:
        """What is on the screen, line by line, without trailing blanks."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines())

    async def press(self, *keys: str) -> None:
        """Press keys and wait until nothing moves any more."""
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the workers are done and the screen is drawn."""
        for _ in range(2):
            await self.app.workers.wait_for_complete()
            await self.pilot.pause()

    async def until(self, words: str) -> None:
        """Wait until some words are on the screen."""
        for _ in range(_PATIENCE):
            if words in self.text:
                return
            await asyncio.sleep(0.05)
            await self.pilot.pause()
        raise AssertionError(f"{words!r} did not appear:\n{self.text}")


def drive(reader: Reader, script: Script, *, size: tuple[int, int] = (80, 24), label: str = "test.db") -> None:
    """Run the interface over a store and let `script` use it."""

    async def run() -> None:
        app = TriageApp(reader, label=label)
        async with app.run_test(size=size, notifications=True) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await script(screen)

    asyncio.run(run())


def store_at(folder: Path) -> Store:
    """A new, empty store."""
    return open_store(f"sqlite:///{folder / 'triage.db'}")
