"""Speed and scale, all in one run on one machine: triage beside a `gdb -batch` loop, eu-stack and pystack.

    .venv/bin/python scripts/bench/scale.py [PART…]      parts: cores workers symbols python growth sparse deep start

Times are processor time (user + system, children included), medians, in milliseconds: wall time on a
busy machine tells of its neighbours. Of three processes of each crash the least counts, and what is compared is
measured in turns: a neighbour that comes and goes slows all of it alike. Cores are made here with this
machine's PHP and Python. eu-stack and pystack take part when they are on PATH. `symbols` takes a PHP with its debug
information apart: TRIAGE_BENCH_PHP names it, and TRIAGE_BENCH_DEBUG the folder that has .build-id/. With
TRIAGE_BENCH_EXTENSIONS (a folder of extensions built for it) and TRIAGE_BENCH_SCAN (one of ini files that name
them) it loads them.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab.fpm import find_fpm
from tests.lab.native import python_crash
from tests.lab.php import CASES, FIXTURES, Interpreter, make
from tests.lab.worker import serving
from triage.config import Settings
from triage.corefile import open_core
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash
from triage.gdb.shapes import Shapes
from triage.pipeline import Pipeline
from triage.runtimes.php import PhpProcess, detect
from triage.symbols import Finder
from triage.unwind import Bounds, Tables, walk_threads

NAMES = ("kill-main", "kill-40", "callbacks", "generator", "fiber", "include", "autoload", "magic", "output", "abort")
_ROWS = (
    "gdb -batch, one process a core",
    "whole triage, a known shape, another process",
    "whole triage, a new shape of calls seen in other stacks",
    "whole triage, a new shape, GDB asked",
    "  the same where GDB has to open the core",
)
_FAST = (
    "fast lane: native addresses",
    "fast lane: identity and native addresses",
    "fast lane: the same and PHP's stack",
)
_EU_STACK = "eu-stack -n 64, one process a core"
_CRASHED, _OTHERS = Bounds(256, 80, 5_000_000), Bounds(32, 20, 1032)
_SETS = 6
_LEAST = "the least of 3 processes each"
_NO_CHECK = 32  # the next stack that is put together is the 33rd
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_PROGRAM = [sys.executable, "-m", "triage"]


def spent(who: int) -> float:
    """Processor time in ms."""
    used = resource.getrusage(who)
    return (used.ru_utime + used.ru_stime) * 1000


def command(argv: Sequence[str], limit: float = 600) -> tuple[float, float]:
    """`(processor time in ms, wall time in s)` of a command with all its children."""
    others, before, begun = _children(), spent(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=limit)
    wall = time.monotonic() - begun
    for left_behind in _children() - others:
        os.waitpid(left_behind, 0)  # only then is its time counted
    return spent(resource.RUSAGE_CHILDREN) - before, wall


def _children() -> set[int]:
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def own(work: Callable[[], object]) -> float:
    """Processor time in ms of this process."""
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1000


def gdb_loop(core: Path, program: str, debug: str | None = None) -> list[str]:
    """What people type: backtrace, registers, the instruction."""
    asked = ("-ex", "bt", "-ex", "info registers", "-ex", "x/i $pc")
    folder = ("-iex", f"set debug-file-directory {debug}") if debug else ()
    return ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", *folder, *asked, program, str(core)]


def gdbs(pipeline: Pipeline) -> float:
    """Processor time in ms that this pipeline's running GDBs have used, and what they are confined by."""
    sessions = pipeline._sessions._sessions.values()
    return sum(_family(session._process.pid) for session in sessions if session._process is not None) / 1e6


def _family(pid: int) -> int:
    """Nanoseconds on a processor of a process and of all below it: the clock ticks of /proc/PID/stat are 10 ms."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += int((task / "schedstat").read_text().split()[0])
        found += sum(map(_family, map(int, (task / "children").read_text().split())))
    return found


def row(name: str, value: float, beside: float | None = None) -> None:
    """One line of a table: a figure, and how many of it fit into another."""
    ratio = f"{beside / value:9.1f}x" if beside is not None and value else ""
    print(f"  {name:<58}{value:>10.2f}{ratio}", flush=True)


Work = Callable[[Path], float]
"""What is measured of a core: ms of processor time."""


def least(sets: Sequence[Sequence[Path]], *works: Work) -> list[float]:
    """Of each work the median over the crashes of the least that any process of each took: neighbours only ever add.

    The works take turns from one set of processes to the next.
    """
    taken: list[list[list[float]]] = [[] for _ in works]
    for cores in sets:
        for work, found in zip(works, taken, strict=True):
            found.append([work(core) for core in cores])
    return [statistics.median(map(min, zip(*found, strict=True))) for found in taken]


def native(finder: Finder, tables: Tables, core: Path, *, php: bool) -> float:
    """The fast lane: identity and native addresses, with `php` PHP's stack as well."""

    def work() -> None:
        with open_core(core) as opened:
            opened.memory.use_files(finder.backing(opened.modules))
            rules = None
            if php:
                process = detect(opened, finder)
                if isinstance(process, PhpProcess):
                    process.stack()
            list(walk_threads(opened, tables, rules, _CRASHED, _OTHERS, 128))

    return own(work)


def walked(finder: Finder, tables: Tables, core: Path) -> float:
    """The native part of the fast lane alone, the core being open."""
    with open_core(core) as opened:
        opened.memory.use_files(finder.backing(opened.modules))
        return own(lambda: list(walk_threads(opened, tables, None, _CRASHED, _OTHERS, 128)))


def through(pipeline: Pipeline, core: Path) -> float:
    """One core through the whole pipeline, GDB's time included."""
    before = gdbs(pipeline)
    ours = own(lambda: pipeline.triage(core))
    return ours + gdbs(pipeline) - before


class Ways:
    """The ways of a core through one pipeline, which must have met its shape before."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._lanes = pipeline._lanes
        self._known = self._lanes._shapes

    def known(self, core: Path) -> float:
        """A known shape."""
        self._lanes._shapes = self._known
        return through(self._pipeline, core)

    def of_known_calls(self, core: Path) -> float:
        """A stack that was never seen, but whose calls were; GDB's spot checks are left out."""
        self._lanes._shapes = copy.copy(self._known)
        self._lanes._shapes._stacks = type(self._known._stacks)()
        self._lanes._drafted["composed"] = _NO_CHECK
        return through(self._pipeline, core)

    def new(self, core: Path) -> float:
        """A stack none of whose calls was ever seen; GDB's spot checks are left out."""
        self._lanes._shapes = Shapes()
        self._lanes._drafted["named"] = _NO_CHECK
        return through(self._pipeline, core)

    def opened(self, core: Path) -> float:
        """The same where GDB opens the core."""
        self._lanes._shapes, before = Shapes(), self._lanes._is_drafting
        self._lanes._is_drafting = False
        try:
            return through(self._pipeline, core)
        finally:
            self._lanes._is_drafting = before


def php_cores(folder: Path) -> list[Path]:
    php = find_php()
    if php is None:
        raise SystemExit("no php here")
    return [
        make(case, Interpreter(php.version), folder).core
        for case in CASES
        if case.name in NAMES and php.version >= case.oldest
    ]


def shaped(folder: Path, count: int, each: int) -> list[Path]:
    """Cores of `count` crashes of different stacks, each of several processes."""
    php = find_php()
    if php is None:
        raise SystemExit("no php here")
    ending = [case for case in CASES if php.version >= case.oldest and not case.endless and "jit" not in case.name]
    found = []
    for number in range(each):
        place = folder / f"process{number}"
        place.mkdir()
        found += [make(case, Interpreter(php.version), place).core for case in ending[:count]]
    return found


def part_symbols(folder: Path) -> None:
    """PHP with full debug information."""
    program, debug = os.environ.get("TRIAGE_BENCH_PHP"), os.environ.get("TRIAGE_BENCH_DEBUG")
    if not program or not debug:
        print("\nsymbols: TRIAGE_BENCH_PHP and TRIAGE_BENCH_DEBUG are not set")
        return
    scripts = [case for case in CASES if case.name in NAMES and not case.options]
    options, more = _with_extensions()

    def made(place: Path) -> list[Path]:
        cores = []
        for case in scripts:
            run = place / case.name
            run.mkdir()
            argv = (program, *options, str(FIXTURES / case.script), *case.arguments)
            process = Process(argv=argv, folder=run, env={"TRIAGE_ORACLE": str(run / "oracle"), **more})
            cores.append(crash(process, place / f"{case.name}.core"))
        return cores

    sets = in_sets(folder, made)
    print(f"\nOne core of PHP with full debug information (median of {len(sets[0])} crashes, {_LEAST})")
    whole_triage(sets, Settings(debug_dirs=(Path(debug),)), lambda core: command(gdb_loop(core, program, debug))[0])


def _with_extensions() -> tuple[tuple[str, ...], dict[str, str]]:
    """Options and environment with which PHP loads extensions as it does on a server; without the settings, none."""
    folder, configured = os.environ.get("TRIAGE_BENCH_EXTENSIONS"), os.environ.get("TRIAGE_BENCH_SCAN")
    if folder is None or configured is None:
        return ("-n",), {}
    return ("-d", f"extension_dir={folder}"), {"PHP_INI_SCAN_DIR": configured}


def of_others(sets: Sequence[Sequence[Path]]) -> Sequence[Sequence[Path]]:
    """The half of the sets that is measured."""
    return sets[len(sets) // 2 :]


def whole_triage(sets: Sequence[Sequence[Path]], settings: Settings, loop: Work) -> None:
    """The GDB loop, and new and known shapes. Each set has the same crashes of other processes."""
    known, other = sets[: len(sets) // 2], of_others(sets)
    with Pipeline(settings) as pipeline:
        for cores in known:
            for core in cores:
                pipeline.triage(core)
        gc.collect()
        gc.freeze()  # as a batch's worker does
        ways = Ways(pipeline)
        taken = least(other, loop, ways.known, ways.of_known_calls, ways.new, ways.opened)
        for name, value in zip(_ROWS, taken, strict=True):
            row(name, value, taken[0])
        print(
            f"  (new shapes: {pipeline.lanes['named']} named without their core, {pipeline.lanes['asked']} with it)"
        )


def in_sets(folder: Path, make_set: Callable[[Path], list[Path]]) -> list[list[Path]]:
    """The same crashes several times, each time of new processes."""
    found = []
    for number in range(_SETS):
        place = folder / f"set{number}"
        place.mkdir()
        found.append(make_set(place))
    return found


def part_workers(folder: Path) -> None:
    """The workers of one php-fpm master: copies of it, which die in the same few scripts."""
    program = find_fpm()
    if program is None:
        print("\nworkers: no php-fpm here")
        return
    cases = [case for case in CASES if case.name in NAMES and case.signal == "SIGSEGV"]
    with serving(program, folder, None, ("-d", "ffi.enable=1")) as workers:
        sets = in_sets(folder, lambda place: [workers.crash(c, place / f"{c.name}.core").core for c in cases])
    print(f"\nOne core of a php-fpm worker, ms of processor time (median of {len(cases)} crashes, {_LEAST})")
    whole_triage(sets, Settings(), lambda core: command(gdb_loop(core, program))[0])


def part_cores(folder: Path) -> None:
    sets = in_sets(folder, php_cores)
    cores, others = sets[0], of_others(sets)
    program = shutil.which("php") or "php"
    print(f"\nOne core of PHP, ms of processor time (median of {len(cores)} crashes, {_LEAST}),")
    print("and how many fit into the gdb loop")

    def loop(core: Path) -> float:
        return command(gdb_loop(core, program))[0]

    whole_triage(sets, Settings(), loop)
    finder = Finder()
    tables = Tables(finder)
    for core in cores:
        native(finder, tables, core, php=True)
    works: dict[str, Work] = {
        "gdb -batch again": loop,
        _FAST[0]: lambda core: walked(finder, tables, core),
        _FAST[1]: lambda core: native(finder, tables, core, php=False),
        _FAST[2]: lambda core: native(finder, tables, core, php=True),
    }
    if shutil.which("eu-stack"):
        eu_stack = ("eu-stack", "-n", "64", "-e", program, "--core")
        works[_EU_STACK] = lambda core: command((*eu_stack, str(core)))[0]
    taken = dict(zip(works, least(others, *works.values()), strict=True))
    for name, value in taken.items():
        row(name, value, taken["gdb -batch again"])
    eu = taken.get(_EU_STACK)
    if eu is not None:
        alone, whole = (taken[name] for name in _FAST[::2])
        print(f"  eu-stack / native part {eu / alone:.1f}x; eu-stack / fast lane with PHP's stack {eu / whole:.1f}x")


def part_python(folder: Path) -> None:
    """Python's own."""
    core = python_crash(folder)
    program = os.path.realpath(sys.executable)
    print("\nOne core of Python, ms of processor time")
    loop = statistics.median(command(gdb_loop(core, program))[0] for _ in range(3))
    row("gdb -batch", loop)
    if shutil.which("pystack"):
        row(
            "pystack core",
            statistics.median(command(["pystack", "core", str(core), program])[0] for _ in range(3)),
            loop,
        )
    with Pipeline(Settings()) as pipeline:
        pipeline.triage(core)
        row("whole triage, a known shape", statistics.median(through(pipeline, core) for _ in range(5)), loop)


def part_growth(folder: Path) -> None:
    cores = shaped(folder, 20, 3)
    print(f"\nMany cores (20 shapes, {len(cores)} processes), empty store, 2 workers, start-up included")
    for count in (10, 100, 1000):
        many = folder / f"many{count}"
        many.mkdir()
        for at in range(count):
            (many / f"{at:04}.core").hardlink_to(cores[at % len(cores)])
        argv = [*_PROGRAM, "batch", str(many), "--jobs", "2", "-q", "--store", str(folder / f"{count}.db")]
        used, wall = command(argv)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"  {count:>5} cores: {used / 1000:7.1f} s processor time, {used / count:6.1f} ms a core, "
            f"{wall:6.1f} s wall ({count / wall:.0f} cores/s), largest process so far {peak:.0f} MiB",
            flush=True,
        )


def part_sparse(folder: Path) -> None:
    small = php_cores(folder)[0]
    large = folder / "large.core"
    shutil.copy(small, large)
    with large.open("r+b") as stream:
        stream.truncate(10 << 30)
    print("\nA core of 7 MB and the same with 10 GB of holes behind it, ms of processor time, known shape")
    with Pipeline(Settings()) as pipeline:
        for core in (small, large):
            pipeline.triage(core)
        first = statistics.median(through(pipeline, small) for _ in range(5))
        row("7 MB", first)
        row("10 GB sparse", statistics.median(through(pipeline, large) for _ in range(5)), first)


def part_deep(folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    options = ("-d", "zend.max_allowed_stack_size=-1", "-d", "memory_limit=-1")
    argv = ("php", *options, "-r", "function f($x) { return array_map('f', [$x]); } f(1);")
    core = crash(Process(argv=argv, folder=run, env={}, stack=48 << 20), folder / "deep.core")
    print("\nA recursion to the end of a large stack")
    finder = Finder()
    tables = Tables(finder)
    with open_core(core) as opened:
        opened.memory.use_files(finder.backing(opened.modules))
        begun = time.process_time()
        walk = next(iter(walk_threads(opened, tables, None, _CRASHED, _OTHERS, 1)))
        row(
            f"native walk of {walk.depth:,} frames ({walk.reason or 'whole'}), ms",
            (time.process_time() - begun) * 1000,
        )
    with Pipeline(Settings()) as pipeline:
        used = through(pipeline, core)
        found = pipeline.triage(core).crash
        depth = found.crashed_thread.depth if found and found.crashed_thread else 0
        row(f"whole triage (depth {depth:,}, PHP frames included), ms", used)


def part_start(folder: Path) -> None:
    print("\nStart-up, ms of processor time")
    row("python -c pass", statistics.median(command([sys.executable, "-c", "pass"])[0] for _ in range(7)))
    row("triage --help", statistics.median(command([*_PROGRAM, "--help"])[0] for _ in range(7)))
    tui = "import triage.cli.tui, triage.tui.app"
    row(
        "imports of the terminal interface",
        statistics.median(command([sys.executable, "-c", tui])[0] for _ in range(3)),
    )


PARTS = {
    "cores": part_cores, "workers": part_workers, "symbols": part_symbols, "python": part_python,
    "growth": part_growth, "sparse": part_sparse, "deep": part_deep, "start": part_start,
}  # fmt: skip


def main(names: Sequence[str]) -> None:
    """Print the tables."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)  # grandchildren without a parent become ours
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles all anew, as no installed one does
    for name in names or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
