"""`triage batch`: every core under the given paths into the store."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

import click

from triage.cli.common import Chosen, options
from triage.cli.steering import Steering
from triage.cli.values import ByteCount, user_id
from triage.corefile.sources import Trust, find
from triage.corefile.sources.opening import BEING_WRITTEN
from triage.errors import EXIT_SOME_FAILED
from triage.filing import Filed
from triage.gdb.locate import find_gdb
from triage.klog import Said, is_log, read_kernel, read_log, records
from triage.klog.resolve import Files
from triage.model import Failure, Outcome, Status
from triage.store import InputStamp, Store
from triage.text import clean, plural
from triage.wire import outcome_to_json
from triage.workers import Done, Job, cluster, prepare, processes, release, triage_all, triage_some, worker_count

Result = Filed | Outcome
"""What became of an input: now, or as it is known from before."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--owner", "owners", multiple=True, metavar="USER",
              help="Read this user's files too in folders everybody can write to. May be repeated.")  # fmt: skip
@click.option(
    "--max-core", type=ByteCount(), metavar="SIZE", help="Largest core to unpack, such as 20G (default 64G)."
)
@click.option("--kernel-log", is_flag=True, help="Also take crashes without a core from the kernel's own log.")
@click.option("--no-reuse", is_flag=True,
              help="Ask GDB for every core, even for a stack it has seen before.")  # fmt: skip
@click.option("--again", is_flag=True,
              help="Also read cores that were triaged before: with new debug symbols or a newer triage.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N",
              help="Worker processes (default: one for every 50 new cores, at most one a processor).")  # fmt: skip
@click.option("--dask", metavar="ADDRESS",
              help="Use the Dask cluster with this scheduler (tcp://HOST:PORT); it sees the same files.")  # fmt: skip
@click.option("--steered", is_flag=True, hidden=True, help="Say each step and obey signals, see steering.py.")
@options
def command(
    paths: tuple[Path, ...],
    owners: tuple[str, ...],
    max_core: int | None,
    jobs: int | None,
    dask: str | None,
    chosen: Chosen,
    *,
    kernel_log: bool,
    no_reuse: bool,
    again: bool,
    steered: bool,
) -> None:
    """Triage every core under PATH… into the store.

    PATH is a file, a folder or a quoted pattern: plain cores, .gz .xz .zst .lz4, the stores of
    systemd-coredump, apport, ABRT and `triage collect`, and packs. A kernel log (kern.log, dmesg) and
    php-fpm's log tell of crashes that left no core. Cores that were triaged before are not read
    again; one that is still being written is left for the next run. Every input that cannot be triaged
    is named on stderr with the reason, and the exit status is then 1.
    """
    if max_core is not None:
        limits = replace(chosen.settings.limits, largest_core=max_core)
        chosen = replace(chosen, settings=replace(chosen.settings, limits=limits))
    if not paths and not kernel_log:
        raise click.UsageError(
            "Missing argument 'PATH…'. Name files, folders or quoted patterns, or use --kernel-log."
        )
    trust = Trust(frozenset(user_id(name) for name in owners))
    chosen = replace(chosen, settings=replace(chosen.settings, reuse=not no_reuse))
    if not chosen.json and not chosen.terminal:
        print("status\tcrash\tcluster\tcore\twhat")
    tally = run(
        paths,
        chosen,
        lambda outcome: _report(outcome, chosen),
        Spread(jobs, dask),
        trust,
        kernel_log=kernel_log,
        again=again,
        steered=steered,
    )
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

    def add(self, outcome: Result, *, known: bool) -> None:
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


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the work is done: in so many processes (`None`: as many as are worth it), or on a Dask cluster."""

    jobs: int | None = 1
    dask: str | None = None


HERE = Spread()


def run(
    paths: Iterable[Path],
    chosen: Chosen,
    report: Callable[[Result], None],
    spread: Spread = HERE,
    trust: Trust | None = None,
    *,
    kernel_log: bool = False,
    again: bool = False,
    steered: bool = False,
) -> Tally:
    """Triage the inputs in their order; each is stored before it is reported.

    Those that were triaged before are left alone, unless `again`.
    """
    tally = Tally()
    lanes: Counter[str] = Counter()
    if spread.dask is None and spread.jobs is not None and spread.jobs > 1:
        prepare()
    with chosen.open_store() as store, store.lock():
        store.resign()
        job = Job(chosen.settings, find_gdb(chosen.settings.gdb), trust)
        if chosen.verbose:
            chosen.say(f"{job.gdb.version_text} ({job.gdb.origin})")
        inputs: list[_Input] = []
        logs: list[Path] = []
        for path in find(paths):
            if is_log(path):
                logs.append(path)
            else:
                inputs.append(_Input(path.absolute(), _stamp(path)))
        steering = Steering(len(inputs)) if steered else None
        with (
            steering or _progress(len(inputs), chosen) as progress,
            closing(_outcomes(inputs, set() if again else _known(inputs, store), job, spread, store)) as outcomes,
        ):
            going = steering is None or steering.may_go_on()
            for came in outcomes if going else ():
                tally.add(came.outcome, known=came.lanes is None)
                lanes.update(came.lanes or ())
                progress.step()
                report(came.outcome)
                if steering is not None and not came.more and not steering.may_go_on():
                    break
        said = [*map(read_log, logs), *([read_kernel()] if kernel_log else [])]
        for outcome, known in _from_logs(said, store, chosen):  # after the cores, which say more
            tally.add(outcome, known=known)
            report(outcome)
        if chosen.verbose:
            chosen.say(_lanes(lanes))
    return tally


class _Input(NamedTuple):
    path: Path
    stamp: InputStamp | None


def _known(inputs: Sequence[_Input], store: Store) -> set[_Input]:
    """The inputs that were triaged before, just as they are now."""
    done = store.done((str(entry.path), entry.stamp) for entry in inputs if entry.stamp is not None)
    return {entry for entry in inputs if entry.stamp is not None and str(entry.path) in done}


class _Came(NamedTuple):
    """What became of one input; `lanes` is None for one that is known from before. `more` are stored already."""

    outcome: Result
    lanes: Mapping[str, int] | None
    more: bool


def _outcomes(
    inputs: Sequence[_Input], known: set[_Input], job: Job, spread: Spread, store: Store
) -> Generator[_Came, None, None]:
    """What became of each input, stored; those that come together are stored together."""
    new = [entry for entry in inputs if entry not in known]
    stored: deque[_Came] = deque()
    with ExitStack() as stack:
        results = _results(stack, [entry.path for entry in new], job, spread)
        told = iter(new)
        for entry in inputs:
            if entry in known:
                yield _Came(_earlier(entry, store), None, bool(stored))
                continue
            if not stored:
                group = next(results)
                stored.extend(_stored([next(told) for _ in group], group, store))
            yield stored.popleft()


def _results(stack: ExitStack, paths: Sequence[Path], job: Job, spread: Spread) -> Iterator[list[Done]]:
    count = worker_count(spread.jobs, len(paths))
    if spread.dask is not None:
        return triage_all(stack.enter_context(cluster(spread.dask)), job, paths, 32)
    if count > 1:
        return triage_all(stack.enter_context(processes(count)), job, paths, count)
    stack.callback(release)
    return (triage_some(job, [path]) for path in paths)


def _stored(entries: Sequence[_Input], group: Sequence[Done], store: Store) -> Iterator[_Came]:
    """The outcomes of these inputs as they are stored now."""
    whole = [at for at, done in enumerate(group) if not _unfinished(done.outcome)]
    kept = store.save_all([(group[at].outcome, entries[at].stamp) for at in whole])
    found = dict(zip(whole, kept, strict=True))  # of the others nothing is kept: the next run meets them whole
    for at, done in enumerate(group):
        yield _Came(found.get(at, done.outcome), done.lanes, at + 1 < len(group))


def _earlier(entry: _Input, store: Store) -> Outcome:
    """What is known of the input from before."""
    earlier = store.seen(str(entry.path), entry.stamp) if entry.stamp is not None else None
    return earlier or Outcome(core=str(entry.path), status=Status.ERROR, failure=_VANISHED)


_VANISHED = Failure(code="vanished", message="its record was removed from the store during the run")


def _lanes(tally: Mapping[str, int]) -> str:
    """Where the native frames came from, one line a lane."""
    reused, composed, named, asked = (tally.get(lane, 0) for lane in ("reused", "composed", "named", "asked"))
    lines = [
        f"native frames: {reused} reused from an equal stack, {composed} put together of calls known from others, "
        f"{named} named by GDB without their core, {asked} asked of GDB"
    ]
    for lane, count in sorted(tally.items()):
        if lane.startswith("deferred: "):
            lines.append(f"  {count} left to GDB: {lane.removeprefix('deferred: ')}")
    return "\n".join(lines)


def _from_logs(said: list[Said], store: Store, chosen: Chosen) -> Iterator[tuple[Result, bool]]:
    """Crashes that only the logs know of; those known from a core are left out."""
    files = Files(chosen.settings.sysroot, chosen.settings.debug_dirs)
    for crash in records(said, files):
        stamp = InputStamp(size=0, mtime_ns=0, inode=0)  # the id is made of what was said: it never changes
        earlier = store.seen(crash.core, stamp)
        if earlier is not None:
            yield earlier, True
        elif crash.pid is None or not store.has_core(crash.pid, crash.time):
            yield store.save(Outcome(core=crash.core, status=crash.status, crash=crash), stamp), False


def _unfinished(outcome: Result) -> bool:
    return outcome.failure is not None and outcome.failure.code == BEING_WRITTEN


def _stamp(path: Path) -> InputStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None  # the pipeline will say what is wrong with it
    return InputStamp(size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def _report(outcome: Result, chosen: Chosen) -> None:
    if outcome.failure is not None:
        chosen.say(f"triage: {outcome.core}: {outcome.failure.message} [{outcome.failure.code}]")
    if chosen.json:
        print(line(outcome), flush=True)
    elif not chosen.terminal or not chosen.quiet:
        print(_line(outcome, terminal=chosen.terminal), flush=True)


def line(outcome: Result) -> str:
    """One line of `--json`."""
    return outcome.text if isinstance(outcome, Filed) else json.dumps(outcome_to_json(outcome))


def _line(outcome: Result, *, terminal: bool) -> str:
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
