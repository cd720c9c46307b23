"""The palette: everything that can be done here, by name, and the words explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from triage.explain.glossary import terms
from triage.tui.actions import actions_of, is_move, with_keys
from triage.tui.place import Place

if TYPE_CHECKING:
    from triage.tui.app import TriageApp


class Commands(Provider):
    """The registry's actions for the screen below, saved views, and the glossary."""

    @property
    def _triage(self) -> TriageApp:
        return cast("TriageApp", self.app)

    def _all(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        screen = self.screen
        if isinstance(screen, Place):
            for action in actions_of(screen.place):
                if not is_move(action):
                    keys = with_keys(action, self._triage.ui.keys).key_text
                    name = f"{action.group}: {action.label}"
                    yield name, f"{keys}   {action.help}", partial(screen.run_action, action.name)
        for name, query in self._triage.ui.views.items():
            yield f"view: {name}", query, partial(self._triage.show_query, query)
        for term in terms():
            yield f"help: what is {term.name}?", term.meaning, partial(self._triage.explain_word, term.name)

    async def discover(self) -> Hits:
        """All of it, before anything is typed."""
        for name, help_, run in self._all():
            yield DiscoveryHit(name, run, help=help_)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for name, help_, run in self._all():
            score = max(matcher.match(name), matcher.match(help_) * 0.6)
            if score > 0:
                yield Hit(score, matcher.highlight(name), run, help=help_, text=name)
