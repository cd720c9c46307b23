"""Going to the next or previous one of a list without going back to it."""

from __future__ import annotations

from collections.abc import Sequence

from triage.tui.place import Place


class Among(Place):
    """A screen about one of `among`. `ENDS` says what the first and the last of them are called."""

    ENDS = ("first", "last")
    _among: Sequence[str] = ()

    def chosen(self) -> str:
        """The id of the one that is shown, or on its way."""
        raise NotImplementedError

    def choose(self, name: str) -> None:
        """Show another."""
        raise NotImplementedError

    def action_next_one(self) -> None:
        """The next of the list."""
        self._go(1)

    def action_previous_one(self) -> None:
        """The one before."""
        self._go(-1)

    def _go(self, step: int) -> None:
        at = self._among.index(self.chosen()) + step if self.chosen() in self._among else -1
        if 0 <= at < len(self._among):
            self.choose(self._among[at])
            self.load()
        else:
            self.triage.say(f"this is the {self.ENDS[step > 0]} listed")
