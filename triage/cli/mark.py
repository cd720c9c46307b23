"""`triage mark`: what somebody decided about a cluster, taken back, and its history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from triage import clock
from triage.cli.common import Chosen, options, print_json, program
from triage.config import user_name
from triage.errors import UsageError
from triage.model import Cluster, Decision, State
from triage.report.decision_text import decided, history_lines
from triage.store import Store
from triage.text import clean
from triage.wire import cluster_to_json, decision_to_json


@click.command()
@click.argument("cluster")
@click.argument("state", required=False, type=click.Choice([state.value for state in State]))
@click.option("--note", metavar="TEXT", help="Why. Without a state, the note alone is changed.")
@click.option("--bug", metavar="URL", help="The bug report this belongs to.")
@click.option("--in", "fixed_in", metavar="VERSION",
              help="fixed: the version or deploy that has the fix. Crashes elsewhere are no regression.")  # fmt: skip
@click.option("--since", metavar="TIME", help="fixed: when the fix was rolled out everywhere, if not now.")
@click.option("--until", metavar="CONDITION",
              help="ignored: '100 more', '>5/h', '>20/d', 2026-12-01, 30d, 'php changes'. "
                   "Default: more than twice the busiest day.")  # fmt: skip
@click.option("--undo", is_flag=True, help="Take the newest decision back.")
@click.option("--history", is_flag=True, help="Only show what was decided, when and by whom.")
@options
def command(
    cluster: str, state: str | None, note: str | None, bug: str | None, fixed_in: str | None, since: str | None,
    until: str | None, undo: bool, history: bool, chosen: Chosen,  # noqa: FBT001
) -> None:  # fmt: skip
    """Say what is decided about a cluster: new, known, fixed or ignored.

    \b
    triage mark C-3f9a known --bug https://github.com/php/php-src/issues/17654
    triage mark C-3f9a fixed --in 8.2.30       a crash under 8.2.30 is a regression
    triage mark C-3f9a ignored --until '>5/h'
    triage mark C-3f9a --undo
    """
    with chosen.open_store() as store:
        if history:
            _history(store, cluster, chosen)
        elif undo:
            _undo(store, cluster, chosen)
        else:
            given = _Given(note, bug, fixed_in, since, until)
            wanted = State(state) if state else None
            marked = store.mark(cluster, given.decision(wanted, store.cluster(cluster)))
            _tell(marked, chosen)


class _Given:
    """What the options said, held against the state they are for."""

    def __init__(
        self, note: str | None, bug: str | None, fixed_in: str | None, since: str | None, until: str | None
    ) -> None:
        self.note, self.bug, self.fixed_in, self.until = note, bug, fixed_in, until
        self.since = None if since is None else _moment(since)

    def decision(self, state: State | None, cluster: Cluster) -> Decision:
        """The decision to add: fields not given stay as they are while the state does."""
        if state is None and not (self.note or self.bug):
            raise UsageError("nothing to change is given", help="Give a state, --note, --bug, --undo or --history.")
        self._check(state or cluster.state)
        before = cluster.decision
        stays = before if before is not None and state in (None, before.state) else None
        return Decision(
            state=state or cluster.state,
            at=clock.now(),
            began=None if state or not stays else stays.holds_from,
            by=user_name(),
            note=self.note if self.note is not None else cluster.note,
            bug=self.bug or (before.bug if before else None),
            fixed_in=self.fixed_in or (stays.fixed_in if stays else None),
            since=self.since or (stays.since if stays else None),
            until=self.until or (stays.until if stays else None),
        )

    def _check(self, state: State) -> None:
        if (self.fixed_in or self.since) and state is not State.FIXED:
            raise UsageError(f"--in and --since go with fixed, not with {state}", help="Leave them out.")
        if self.until and state is not State.IGNORED:
            raise UsageError(f"--until goes with ignored, not with {state}", help="Leave it out.")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--since {text!r} is no time", help="Write 2026-08-19 or 2026-08-19T14:02 (UTC), or with +02:00."
        ) from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _undo(store: Store, cluster: str, chosen: Chosen) -> None:
    marked, gone = store.undo(cluster, at=clock.now(), by=user_name())
    if gone is None:
        raise UsageError(f"nothing was decided about {marked.id} yet, so there is nothing to undo")
    chosen.say(f"taken back: {decided(gone)}")
    _tell(marked, chosen)


def _history(store: Store, cluster: str, chosen: Chosen) -> None:
    found = store.decisions(cluster)
    if chosen.json:
        print_json([decision_to_json(decision) for decision in found])
        return
    for line in history_lines(found):
        print(clean(line))
    if not found:
        chosen.say("nothing was decided yet")


def _tell(cluster: Cluster, chosen: Chosen) -> None:
    if chosen.json:
        print_json(cluster_to_json(cluster))
        return
    for line in _lines(cluster):
        print(clean(line))
    chosen.say(f"Taken back with: {program()} mark {cluster.id} --undo")


def _lines(cluster: Cluster) -> Iterator[str]:
    now = decided(cluster.decision) if cluster.decision else str(cluster.state)
    yield f"{cluster.id} is {now}"
    for flag, remark in zip(cluster.flags, cluster.remarks, strict=False):
        yield f"  {flag}: {remark}"
