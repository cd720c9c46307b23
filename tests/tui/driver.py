"""Drives the interface without a terminal and reads its screen as lines of text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from triage.store import Store, open_store
from triage.tui.app import TriageApp
from triage.tui.settings import Ui

Script = Callable[["Screen"], Awaitable[None]]
_PATIENCE = 100


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

    async def press(self, *keys: str) -> None:
        """Press keys and wait until nothing moves any more."""
        await self.pilot.press(*keys)
        await self.settle()

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
    store: str = "sqlite:///nowhere",
) -> None:
    """Run the interface over a store and let `script` use it."""

    async def run() -> None:
        app = TriageApp(reader, label=label, ui=ui, store=store)
        async with app.run_test(size=size, notifications=True) as pilot:
            screen = Screen(app, pilot)
            await screen.settle()
            await script(screen)

    asyncio.run(run())


def store_at(folder: Path) -> Store:
    """A new, empty store."""
    return open_store(f"sqlite:///{folder / 'triage.db'}")
