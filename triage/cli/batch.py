"""`triage batch`: every core under the given paths into the store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import click

from triage.cli.common import Chosen, options, print_json
from triage.cli.steering import Steering
from triage.cli.values import ByteCount, user_id
from triage.corefile.sources import Trust, find
from triage.corefile.sources.opening import BEING_WRITTEN
from triage.errors import EXIT_SOME_FAILED
from triage.model import Outcome, Status
from triage.pipeline import Pipeline
from triage.store import InputStamp, Store
from triage.text import clean, plural
from triage.wire import outcome_to_json


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--owner", "owners", multiple=True, metavar="USER",
              help="Read this user's files too in folders everybody can write to. May be repeated.")  # fmt: skip
@click.option(
    "--max-core", type=ByteCount(), metavar="SIZE", help="Largest core to unpack, such as 20G (default 64G)."
)
@click.option("--steered", is_flag=True, hidden=True, help="Say each step and obey signals, see steering.py.")
@options
def command(
    paths: tuple[Path, ...],
    owners: tuple[str, ...],
    max_core: int | None,
    steered: bool,  # noqa: FBT001
    chosen: Chosen,
) -> None:
    """Triage every core under PATH… into the store.

    PATH is a file, a folder or a quoted pattern: plain cores, .gz .xz .zst .lz4, the stores of
    systemd-coredump, apport, ABRT and `triage collect`. Cores that were triaged before are not read
    again; one that is still being written is left for the next run. Every input that cannot be triaged
    is named on stderr with the reason, and the exit status is then 1.
    """
    if max_core is not None:
        limits = replace(chosen.settings.limits, largest_core=max_core)
        chosen = replace(chosen, settings=replace(chosen.settings, limits=limits))
    trust = Trust(frozenset(user_id(name) for name in owners))
    if not chosen.json and not chosen.terminal:
        print("status\tcrash\tcluster\tcore\twhat")
    tally = run(paths, chosen, lambda outcome: _report(outcome, chosen), trust, steered=steered)
    if not chosen.json:
        chosen.say(tally.sentence())
    if tally.failed:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


@dataclass(slots=True)
class Tally:
    """What became of the inputs."""

    triaged: int = 0
    partial: int = 0
    known: int = 0
    failed: int = 0
    unfinished: int = 0
    clusters: set[str] = field(default_factory=set)

    def add(self, outcome: Outcome, *, known: bool) -> None:
        """Count one input."""
        if outcome.crash is None:
            if _unfinished(outcome):
                self.unfinished += 1
            else:
                self.failed += 1
            return
        self.known += known
        self.triaged += not known
        self.partial += outcome.status is Status.PARTIAL
        if outcome.crash.cluster:
            self.clusters.add(outcome.crash.cluster)

    def sentence(self) -> str:
        """One line for people."""
        parts = [f"{plural(self.triaged, 'core')} triaged"]
        if self.known:
            parts.append(f"{self.known} known from before")
        if self.partial:
            parts.append(f"{self.partial} with gaps")
        if self.failed:
            parts.append(f"{self.failed} could not be triaged")
        if self.unfinished:
            parts.append(f"{self.unfinished} still being written")
        return ", ".join(parts) + f"; {plural(len(self.clusters), 'cluster')}"


def run(
    paths: Iterable[Path],
    chosen: Chosen,
    report: Callable[[Outcome], None],
    trust: Trust | None = None,
    *,
    steered: bool = False,
) -> Tally:
    """Triage the inputs one by one; each is stored before it is reported and the next is begun."""
    tally = Tally()
    with chosen.open_store() as store, store.lock(), Pipeline(chosen.settings) as pipeline:
        if chosen.verbose:
            chosen.say(f"{pipeline.gdb.version_text} ({pipeline.gdb.origin})")
        inputs = list(find(paths))
        steering = Steering(len(inputs)) if steered else None
        with steering or _progress(len(inputs), chosen) as progress:
            for path in inputs:
                if steering is not None and not steering.may_go_on():
                    break
                outcome, known = _one(path, store, pipeline, trust)
                tally.add(outcome, known=known)
                progress.step()
                report(outcome)
    return tally


def _one(path: Path, store: Store, pipeline: Pipeline, trust: Trust | None) -> tuple[Outcome, bool]:
    """`(outcome, known)` of one input."""
    stamp = _stamp(path)
    absolute = path.absolute()
    earlier = store.seen(str(absolute), stamp) if stamp is not None else None
    if earlier is not None:
        return earlier, True
    outcome = pipeline.triage(absolute, trust)
    if _unfinished(outcome):
        return outcome, False  # nothing to keep: the next run meets it whole
    return store.save(outcome, stamp), False


def _unfinished(outcome: Outcome) -> bool:
    return outcome.failure is not None and outcome.failure.code == BEING_WRITTEN


def _stamp(path: Path) -> InputStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None  # the pipeline will say what is wrong with it
    return InputStamp(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def _report(outcome: Outcome, chosen: Chosen) -> None:
    if outcome.failure is not None:
        chosen.say(f"triage: {outcome.core}: {outcome.failure.message} [{outcome.failure.code}]")
    if chosen.json:
        print_json(outcome_to_json(outcome))
    elif not chosen.terminal or not chosen.quiet:
        print(_line(outcome, terminal=chosen.terminal), flush=True)


def _line(outcome: Outcome, *, terminal: bool) -> str:
    crash = outcome.crash
    title = crash.signature.title if crash and crash.signature else None
    what = title or (outcome.failure.code if outcome.failure else "")
    cells = [outcome.status, crash.id if crash else "", (crash.cluster or "") if crash else "", outcome.core, what]
    if not terminal:
        return "\t".join(clean(str(cell)) for cell in cells)
    name = Path(outcome.core).name
    return f"{cells[0]:<8}{clean(cells[2], limit=10):<11}{clean(name, limit=30):<31}{clean(what, limit=60)}"


class _Steps(Protocol):
    def __enter__(self) -> _Steps: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self) -> None: ...


class _Silent:
    """No progress: stderr is not a terminal, or -q."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def step(self) -> None:
        return None


class _Bar:
    """A progress bar on stderr."""

    def __init__(self, total: int) -> None:
        from rich.console import Console  # only on a terminal: a cron run need not load it
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("triaging", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self) -> None:
        self._progress.advance(self._task)


def _progress(total: int, chosen: Chosen) -> _Steps:
    wanted = sys.stderr.isatty() and not chosen.quiet and total > 1
    return _Bar(total) if wanted else _Silent()
