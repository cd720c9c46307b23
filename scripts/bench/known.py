"""How many fixed bugs kill this PHP, and whether their crashes are recognised in another application.

    nice .venv/bin/python scripts/bench/known.py [--store FILE] [SOURCE]

First `triage known build SOURCE` (default php8.4, fetched with apt) unless FILE has a base already. Then each bug is
planted in an application with other code round it, served by php-fpm, and its crash looked up. Last, crashes that
are not in the base: those of our own faulty extension and of tests left out of the base.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab.extension import build as build_extension
from tests.lab.fpm import find_fpm
from tests.lab.planted import plant
from tests.lab.worker import serving
from triage.config import Settings
from triage.demo.lab import NoCrash, Process, crash
from triage.insight.known.build import WAYS, build, interpreter
from triage.insight.known.phpt import SETTINGS
from triage.insight.known.source import source
from triage.insight.known.trace import Base, stack, tokens
from triage.insight.sandbox import Sandbox, own_user
from triage.model import Crash, KnownBug
from triage.pipeline import Pipeline
from triage.store import open_store

# Ways to die in our own faulty extension: none of them is a bug of PHP.
FAULTS = (
    "faulty_null();",
    "faulty_use_freed();",
    "faulty_confusion(1311768467463790320);",
    "faulty_text(new stdClass);",
    "faulty_overflow(); for (;;) $a[] = str_repeat('x', 20);",
    "faulty_double(); for (;;) $a[] = str_repeat('x', 220);",
    "faulty_stale(); for (;;) $a[] = str_repeat('x', 90);",
    "faulty_foreign_free();",
    "faulty_smash(str_repeat('A', 4096));",
    "faulty_at_request_end();",
    "faulty_at_shutdown();",
    "new FaultyBox;",
    "faulty_in_array($a = []); gc_collect_cycles();",
    "faulty_api();",
    "$o = new stdClass; faulty_handlers($o); $o->x;",
    "array_map(fn ($x) => faulty_null(), [1]);",
    "$l = [2, 1]; usort($l, fn ($a, $b) => faulty_null());",
    "function f() { faulty_null(); } f();",
    "$x = 'faulty_use_freed'; $x();",
    "preg_replace_callback('/a/', fn ($m) => faulty_null(), 'a');",
    "$v = 1; faulty_type($v);",
    "iterator_apply($i = new ArrayIterator([1]), fn () => faulty_null());",
    "(function () { yield faulty_null(); })()->current();",
    "set_error_handler(fn () => faulty_null()); echo $undefined;",
    "class J implements JsonSerializable { function jsonSerialize(): mixed { faulty_null(); } } json_encode(new J);",
    "ob_start(fn () => faulty_null()); echo 1; ob_end_flush();",
    "class T { function __toString() { faulty_null(); return ''; } } echo str_replace('a', 'b', new T);",
    "spl_autoload_register(fn () => faulty_null()); class_exists('Nowhere');",
)


def base(path: Path, what: str) -> list[KnownBug]:
    """The bugs on file, built first where there are none."""
    with open_store(f"sqlite:///{path}") as store:
        bugs = store.known_bugs()
        if bugs:
            return bugs
        begun = time.monotonic()
        with Pipeline(Settings()) as pipeline:
            tree, php, sandbox = source(what, None), interpreter("php"), Sandbox(user=own_user())
            for bug in build(tree, php, pipeline, sandbox, oldest=15_000, say=_say):
                store.add_known_bugs([bug])
        print(f"built in {time.monotonic() - begun:.0f} s")
        return store.known_bugs()


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def planted(bugs: list[KnownBug], pipeline: Pipeline, folder: Path) -> Iterator[tuple[str, str]]:
    """`(bug, what its crash was taken for)`: the bug itself, another's name, "nothing", or why it did not crash."""
    known = Base(bugs)
    ways: dict[str, list[KnownBug]] = defaultdict(list)
    for bug in bugs:
        ways[bug.bug].append(bug)
    for name, variants in ways.items():
        result = "cannot be planted"
        for bug in variants:
            application = plant(bug.script)
            if application is None:
                continue
            found = served(application.code, bug, pipeline, folder)
            if found is None:
                result = "did not crash"
                continue
            matches = known.matches(stack(found))
            first = [match.bug.bug for match in matches if match.likeness == matches[0].likeness]
            result = name if name in first else f"{', '.join(first) or 'nothing'} {tokens(stack(found))[:5]}"
            if len(first) > 1:
                print(f"  {name}: {', '.join(first)} cannot be told apart")
            break
        yield name, result


def served(code: str, bug: KnownBug, pipeline: Pipeline, folder: Path) -> Crash | None:
    """The crash of an application in php-fpm with the bug's settings."""
    options = tuple(word for setting in (*SETTINGS, *bug.settings) for word in ("-d", setting))
    with serving(find_fpm() or "php-fpm", folder, None, options) as workers:
        page = workers.run / "www" / "planted.php"
        page.write_text(code, "utf-8", "surrogateescape")
        os.utime(page, (1_000_000_000, 1_000_000_000))
        begun = time.time()
        workers.ask("planted.php", {})
        end = time.monotonic() + 8
        while time.monotonic() < end and "exited on signal" not in (workers.run / "log").read_text(errors="replace"):
            time.sleep(0.1)
        time.sleep(0.3)
        for place in (workers.run / "www", workers.run):
            for core in place.glob("core*"):
                if core.stat().st_mtime >= begun - 2:
                    outcome = pipeline.triage(core)
                    core.unlink()
                    return outcome.crash
    return None


def strangers(bugs: list[KnownBug], pipeline: Pipeline, folder: Path) -> Iterator[tuple[str, str]]:
    """Crashes that are not in the base: our extension's, on the command line."""
    known = Base(bugs)
    extension = build_extension(folder / "faulty.so", (8, 2))
    for number, code in enumerate(FAULTS):
        run = folder / f"stranger{number}"
        run.mkdir()
        argv = ("php", "-d", f"extension={extension}", "-r", code)
        try:
            core = crash(Process(argv=argv, folder=run, env={}), folder / f"stranger{number}.core")
        except NoCrash:
            continue
        found = pipeline.triage(core).crash
        core.unlink()
        shutil.rmtree(run)
        if found is not None:
            matches = known.matches(stack(found))
            yield code, matches[0].bug.bug if matches else "nothing"


def left_out(bugs: list[KnownBug]) -> Iterator[tuple[str, str]]:
    """Each bug looked up in a base without it: what it is then taken for."""
    for name in sorted({bug.bug for bug in bugs}):
        rest = Base([bug for bug in bugs if bug.bug != name])
        for bug in bugs:
            if bug.bug == name:
                matches = rest.matches(bug.frames)
                yield name, matches[0].bug.bug if matches else "nothing"
                break


def main() -> int:
    """Print it all; 0 when it keeps what issue 8 asks."""
    options = argparse.ArgumentParser()
    options.add_argument("--store", type=Path)
    options.add_argument("source", nargs="?", default="php8.4")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        bugs = base(chosen.store or folder / "known.db", chosen.source)
        names = sorted({bug.bug for bug in bugs})
        print(f"{len(names)} bugs kill this PHP ({len(bugs)} signatures, {len(WAYS)} ways to run)")
        with Pipeline(Settings()) as pipeline:
            rows = list(planted(bugs, pipeline, folder))
            for name, taken in rows:
                print(f"  planted {name}: {'itself' if taken == name else taken}", flush=True)
            crashed = [(name, taken) for name, taken in rows if taken not in ("cannot be planted", "did not crash")]
            right = sum(name == taken for name, taken in crashed)
            foreign = list(strangers(bugs, pipeline, folder))
        wrong = [(code, taken) for code, taken in foreign if taken != "nothing"]
        others = list(left_out(bugs))
        twins = [(name, taken) for name, taken in others if taken != "nothing"]
    print(f"planted: {right} of {len(crashed)} matched their bug first ({len(rows) - len(crashed)} could not be"
          " planted or did not crash there)")  # fmt: skip
    print(f"not in the base: {len(foreign)} crashes, {len(wrong)} matched {wrong}")
    print(f"left out of the base: {len(others)} bugs, {len(twins)} taken for another: {twins}")
    fine = len(names) >= 18 and right >= 0.9 * len(crashed) and not wrong and len(foreign) >= 20
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
