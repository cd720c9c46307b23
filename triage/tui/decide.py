"""Deciding about a cluster: its state, a note, and taking either back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from triage import clock
from triage.config import user_name
from triage.model import Cluster, Decision, State
from triage.report.decision_text import decided
from triage.tui.place import Place

_CHOICES = (
    ("o", "open", "nobody has decided: it stands in the list as new"),
    ("k", "known", "we know it; asks for the bug"),
    ("f", "fixed", "asks where the fix is; a crash there is a regression"),
    ("i", "ignored", "not now; asks until when. It comes back by itself"),
)
_STATES = {"o": State.NEW, "k": State.KNOWN, "f": State.FIXED, "i": State.IGNORED}
_DETAIL = {
    State.KNOWN: "Which bug is it? (a link, or nothing)",
    State.FIXED: "Which version or deploy has the fix? (nothing: rolled out everywhere now)",
    State.IGNORED: "Until when? (nothing: until it crashes twice as often as ever)",
}
_WITH: Mapping[State, Callable[[Decision, str | None], Decision]] = {
    State.KNOWN: lambda decision, given: replace(decision, bug=given or decision.bug),
    State.FIXED: lambda decision, given: replace(decision, fixed_in=given),
    State.IGNORED: lambda decision, given: replace(decision, until=given),
}
_HINTS = {
    State.KNOWN: "https://github.com/php/php-src/issues/…",
    State.FIXED: "8.2.30",
    State.IGNORED: "100 more, >5/h, >20/d, 2026-12-01, 30d, php changes",
}


class Deciding(Place):
    """A screen about clusters, one of which is chosen."""

    def chosen_cluster(self) -> str | None:
        """The cluster that a decision would be about."""
        raise NotImplementedError

    def action_state(self) -> None:
        """Ask for the state, then for what belongs to it."""
        cluster = self._cluster_or_say()
        if cluster is not None:
            self.triage.choose(
                f"What is decided about {cluster}?", _CHOICES, lambda key: self._state_chosen(cluster, key)
            )

    def _state_chosen(self, cluster: str, key: str | None) -> None:
        if key is None:
            return
        state = _STATES[key]
        if state is State.NEW:
            self._decide(cluster, lambda before: self._decision(before, State.NEW))
            return
        question = _DETAIL[state]

        def answered(answer: str | None) -> None:
            if answer is not None:
                given = answer or None
                self._decide(cluster, lambda before: _WITH[state](self._decision(before, state), given))

        self.triage.ask(question, _HINTS[state], answered)

    def action_note(self) -> None:
        """Ask for the note."""
        cluster = self._cluster_or_say()
        if cluster is not None:
            self.read(lambda: self.triage.reader.cluster(cluster), self._ask_note)

    def _ask_note(self, cluster: Cluster) -> None:
        def answered(answer: str | None) -> None:
            if answer is not None:
                self._decide(cluster.id, lambda before: _noted(before, answer))

        self.triage.ask(f"Note on {cluster.id}", "for your colleagues", answered, value=cluster.note or "")

    def action_undo(self) -> None:
        """Take the newest decision back."""
        cluster = self._cluster_or_say()
        if cluster is None:
            return

        def told(found: tuple[Cluster, Decision | None]) -> None:
            now, gone = found
            what = f"taken back: {decided(gone)}" if gone else f"nothing was decided about {now.id} yet"
            self.triage.say(what)
            self.load()

        self.read(lambda: self.triage.reader.undo(cluster, at=clock.now(), by=user_name()), told)

    def _cluster_or_say(self) -> str | None:
        cluster = self.chosen_cluster()
        if cluster is None:
            self.triage.say("there is no cluster here to decide about")
        return cluster

    def _decision(self, before: Cluster, state: State) -> Decision:
        """A new decision: a bug that is linked stays linked, the rest was about the old state."""
        bug = before.decision.bug if before.decision else None
        return Decision(state=state, at=clock.now(), by=user_name(), note=before.note, bug=bug)

    def _decide(self, cluster: str, make: Callable[[Cluster], Decision]) -> None:
        def work() -> Cluster:
            before = self.triage.reader.cluster(cluster)
            return self.triage.reader.mark(cluster, make(before))

        def told(now: Cluster) -> None:
            what = decided(now.decision) if now.decision else str(now.state)
            self.triage.say(f"{now.id} is {what}   (u takes it back)")
            self.load()

        self.read(work, told)


def _noted(before: Cluster, note: str) -> Decision:
    """A decision that changes the note alone: the state goes on holding from when it was given."""
    at, by = clock.now(), user_name()
    if before.decision is None:
        return Decision(state=State.NEW, at=at, by=by, note=note or None)
    return replace(before.decision, at=at, by=by, note=note or None, began=before.decision.holds_from)
