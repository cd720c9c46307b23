"""How long reading everything out of a PHP core takes, beside `gdb -batch -ex bt` on the same core.

    .venv/bin/python scripts/bench/php_read.py [MEGABYTES…]

Cores are made with this machine's PHP. Times are medians of processor time in milliseconds, in a
warm process; GDB's is one process a core, as it is used by hand.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab.php import FIXTURES
from triage.corefile import CoreFile, open_core
from triage.demo.lab import Process, crash
from triage.runtimes.php import PhpProcess, detect
from triage.symbols import Finder

_ROUNDS = 15


def core_of(megabytes: int, folder: Path) -> Path:
    """A core with that much memory in use."""
    run = folder / str(megabytes)
    run.mkdir()
    argv = ("php", str(FIXTURES / "fill.php"), str(megabytes))
    return crash(Process(argv=argv, folder=run, env={}), folder / f"{megabytes}.core")


def median(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Processor time in ms, the first round left out."""
    work()
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        times.append((time.process_time() - begun) * 1000)
    return statistics.median(times)


def reading(core: Path, finder: Finder, what: Callable[[PhpProcess], object]) -> Callable[[], object]:
    """Open the core, find PHP and read."""

    def work() -> object:
        with open_core(core) as found:
            return what(_process(found, finder))

    return work


def _process(core: CoreFile, finder: Finder) -> PhpProcess:
    core.memory.use_files(finder.backing(core.modules))
    process = detect(core, finder)
    if not isinstance(process, PhpProcess):
        raise SystemExit(f"no PHP in {core.path}: {process}")
    return process


def with_gdb(core: Path) -> float:
    """Processor time in ms of one `gdb -batch` backtrace."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "bt", "php", str(core)]
    subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main(sizes: list[int]) -> None:
    """Print the table."""
    finder = Finder()
    print(
        f"{'core on disk':>14} {'stack':>8} {'all but heap':>13} {'all':>9} {'gdb bt':>9} {'gdb / all but heap':>19}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in sizes:
            core = core_of(megabytes, Path(folder))
            stack = median(reading(core, finder, lambda process: process.stack()))
            most = median(reading(core, finder, lambda process: process.read(heap=False)))
            whole = median(reading(core, finder, lambda process: process.read()), rounds=3)
            gdb = statistics.median(with_gdb(core) for _ in range(3))
            size = core.stat().st_blocks * 512 / 1e6
            cells = (f"{size:.1f} MB", *(f"{time:.1f} ms" for time in (stack, most, whole, gdb)), f"{gdb / most:.1f}")
            print("".join(f"{cell:>20}" for cell in cells), flush=True)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [0, 20, 200])
