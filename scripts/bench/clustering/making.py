"""Making crashes for the corpus: processes that die, their cores triaged and kept as JSON lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.suites import CannotMake
from tests.lab.worker import Workers
from triage.config import Settings
from triage.demo.lab import NoCrash, Process, find_core
from triage.model import Crash
from triage.pipeline import Pipeline
from triage.wire import crash_to_json

_SECONDS = 20
_MEMORY = 4 << 30


@dataclass(frozen=True, slots=True)
class Making:
    """One crash to make: the bug it shows, in which condition, and how."""

    bug: str
    test: str
    kind: str
    condition: str
    process: Process
    views: tuple[tuple[str, Path | None], ...]
    root: Path | None = None


@dataclass(slots=True)
class Kept:
    """The traces of one part of the corpus: JSON lines, added to and never rewritten."""

    path: Path
    done: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for line in lines(self.path):
            self.done.add(line["made"])

    def add(self, made: str, records: list[dict[str, Any]]) -> None:
        """Keep what came of one making; nothing is a result too."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(self.path, "at") as file:
            for record in records or [{"crash": None}]:
                file.write(json.dumps({"made": made, **record}, separators=(",", ":")) + "\n")
        self.done.add(made)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of one part; a half-written end is left out."""
    if not path.exists():
        return
    with gzip.open(path, "rt") as file:
        try:
            for line in file:
                yield json.loads(line)
        except (EOFError, ValueError):
            return


def slim(found: Crash) -> dict[str, Any]:
    """The crash without what clustering does not look at: other threads, modules that are not on the stack."""
    record = crash_to_json(found)
    record["threads"] = [thread for thread in record["threads"] if thread["crashed"]]
    used = {frame["module"] for thread in record["threads"] for frame in thread["frames"]}
    record["modules"] = [module for module in record["modules"] if module["path"] in used]
    if record["runtime"]:
        for name in ("environment", "extension_files", "fibers"):
            record["runtime"][name] = [] if name == "fibers" else {}
    return record


class Reader:
    """Triages cores with one pipeline for each way to read them."""

    def __init__(self) -> None:
        self._pipelines: dict[tuple[Path | None, Path | None], Pipeline] = {}

    def read(self, core: Path, root: Path | None, debug: Path | None) -> dict[str, Any] | None:
        """The slim record of a core."""
        key = (root, debug)
        if key not in self._pipelines:
            debug_dirs = () if debug is None else (debug,)
            self._pipelines[key] = Pipeline(Settings(sysroot=root, debug_dirs=debug_dirs)).__enter__()
        outcome = self._pipelines[key].triage(core)
        return slim(outcome.crash) if outcome.crash else None

    def close(self) -> None:
        """End their debuggers."""
        for pipeline in self._pipelines.values():
            pipeline.__exit__(None, None, None)


def records(making: Making, core: Path, reader: Reader) -> list[dict[str, Any]]:
    """The core read in each view."""
    found = []
    for view, debug in making.views:
        record = reader.read(core, making.root, debug)
        if record is not None:
            found.append({"bug": making.bug, "test": making.test, "kind": making.kind,
                          "condition": making.condition, "view": view, "crash": record})  # fmt: skip
    return found


def make(makings: Iterable[Making], kept: Kept) -> None:
    """Make the crashes that are not kept yet."""
    reader = Reader()
    try:
        for making in makings:
            name = f"{making.test} {making.condition}"
            if name in kept.done:
                continue
            folder = making.process.folder
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            core = folder.parent / f"{folder.name}.core"
            made = _core_of(making.process, core)
            kept.add(name, records(making, core, reader) if made else [])
            core.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        reader.close()


def _core_of(process: Process, target: Path) -> Path | None:
    """The core the process leaves; `None` when it survives. What it prints is thrown away: some print for ever."""
    begun = time.time()
    child = subprocess.Popen(
        process.argv, cwd=process.folder, env={**os.environ, **process.env}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: _limits(process.stack),
    )  # fmt: skip
    try:
        status = child.wait(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return None
    core = find_core(process.folder, child.pid, begun) if status < 0 else None
    return Path(shutil.move(core, target)) if core else None


def _limits(stack: int | None) -> None:
    for limit, value in ((resource.RLIMIT_CORE, None), (resource.RLIMIT_STACK, stack), (resource.RLIMIT_AS, _MEMORY)):
        hard = resource.getrlimit(limit)[1]
        if limit == resource.RLIMIT_CORE or value is not None:
            resource.setrlimit(limit, (hard if value is None else value, hard))


def dice_of(*words: str) -> random.Random:
    """Chance that is the same in each run."""
    return random.Random(int.from_bytes(hashlib.sha256("/".join(words).encode()).digest()[:8], "big"))


def served(workers: Workers, script: str, folder: Path, parameters: Mapping[str, str]) -> Path | None:
    """The core of the php-fpm worker that serves the script, which lies in `folder`; `None` when it survives."""
    log = workers.run / "log"
    before, begun = len(log.read_text(errors="replace")), time.time()
    try:
        workers.ask("request.php", {"SCRIPT_FILENAME": script, **parameters})
    except subprocess.TimeoutExpired:
        return None
    end = time.monotonic() + 5
    while time.monotonic() < end:
        died = re.search(r"child (\d+) exited on signal", log.read_text(errors="replace")[before:])
        for place in (folder, workers.run / "www", workers.run) if died else ():
            core = find_core(place, int(died[1]), begun) if died else None
            if core is not None:
                return core
        time.sleep(0.1)
    return None


def make_parts(
    wanted: Sequence[str],
    part: Callable[[str], None],
    traces: Callable[[], Iterable[dict[str, Any]]],
    what: str,
) -> int:
    """Make the parts; say how many crashes there are, and nothing of what they look like. An exit status."""
    for name in wanted:
        begun = time.monotonic()
        try:
            part(name)
        except (CannotMake, NoCrash) as reason:
            print(f"{name}: {reason}", flush=True)
            continue
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    bugs: dict[str, int] = {}
    for record in traces():
        bugs[record["bug"]] = bugs.get(record["bug"], 0) + 1
    print(f"{sum(bugs.values())} traces of {len(bugs)} {what}")
    return 0
