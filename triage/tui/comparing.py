"""Marking two, and comparing them."""

from __future__ import annotations

from triage.tui.place import Place


class Comparing(Place):
    """A list whose rows can be marked and compared."""

    def copy_id(self) -> str | None:
        """The id under the cursor."""
        raise NotImplementedError

    def marked_changed(self) -> None:
        """Draw the marks anew."""
        raise NotImplementedError

    def action_mark(self) -> None:
        """Mark the row under the cursor, or unmark it."""
        chosen = self.copy_id()
        if chosen is not None:
            self.triage.toggle_mark(chosen)
            self.marked_changed()

    def action_compare(self) -> None:
        """Compare what is marked, or the marked one with the one under the cursor."""
        chosen = self.copy_id()
        pair = list(dict.fromkeys([*self.triage.marked, *([chosen] if chosen else [])]))[:2]
        if len(self.triage.marked) == 2:
            pair = list(self.triage.marked)
        if len(pair) < 2:
            have = len(self.triage.marked)
            self.triage.say(f"a comparison needs two: {have} marked with space, and the cursor on another")
            return
        self.triage.open_comparison(*pair)
