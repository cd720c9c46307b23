"""scripts/fuzz: mutated inputs for a while, then a table; ends with 1 when something broke."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.fuzz.coverage import lead
from tests.fuzz.run import run, save, table
from tests.fuzz.targets import ON_REQUEST, TARGETS


def main() -> int:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="another number, other inputs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--target", action="append", choices=list(TARGETS), help=f"default: all but {', '.join(ON_REQUEST)}"
    )
    parser.add_argument("--json", type=Path, help="write figures and failures here")
    parser.add_argument("--replay", metavar="TARGET:NUMBER", help="one input again, with its traceback")
    parser.add_argument("--coverage", metavar="TARGET", help="a parser's inputs led by the lines they reach")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-kept"), help="where --coverage leaves what broke")
    chosen = parser.parse_args()
    if chosen.coverage:
        return lead(chosen.coverage, int(chosen.seconds), chosen.keep)
    if chosen.replay:
        return replay(chosen.replay)
    names = chosen.target or [name for name in TARGETS if name not in ON_REQUEST]
    tallies = run(names, chosen.seed, chosen.seconds, chosen.workers)
    for tally in tallies.values():
        for failure in tally.failures:
            print(failure, file=sys.stderr)
    print(table(tallies))
    if chosen.json:
        save(tallies, chosen.json)
    return int(any(tally.hangs or tally.exceptions or tally.lost for tally in tallies.values()))


def replay(name: str) -> int:
    """One input by its name."""
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="triage-fuzz-") as folder:
        target = TARGETS[name.split(":")[0]](Path(folder))
        print(target.run(random.Random(name)))
        target.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
