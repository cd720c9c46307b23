"""The last line of a screen: its most wanted keys, each with a word; a click presses one."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.widgets import Static

from triage.tui.actions import Action, actions_of, with_keys, written


class KeyBar(Static):
    """Textual's Footer has a widget for each key, which takes long to make anew with each screen."""

    ALLOW_SELECT = False

    def __init__(self, place: str) -> None:
        super().__init__(id="keys", markup=False)
        self._place = place
        self._ends: list[tuple[int, Action]] = []

    def typing(self, hint: str) -> None:
        """A field has the keys: say what they do there."""
        self._ends = []
        self.update(Text(f" {hint}", no_wrap=True, overflow="crop"))

    def on_mount(self) -> None:
        """Show the screen's own keys."""
        self.show_keys()

    def show_keys(self) -> None:
        """Draw the keys as the user's settings have them."""
        self._ends = []
        keymap = self.app.ui.keys  # type: ignore[attr-defined]
        text = Text(no_wrap=True, overflow="crop")
        for action in actions_of(self._place):
            if action.in_footer:
                text.append(f" {written(with_keys(action, keymap).keys[0])}", style="bold")
                text.append(f" {action.label} ", style="not bold")
                self._ends.append((text.cell_len, action))
        self.update(text)

    async def on_click(self, event: events.Click) -> None:
        """Do what stands under the pointer."""
        action = next((action for end, action in self._ends if event.x < end), None)
        if action is not None:
            await self.screen.run_action(action.name)
