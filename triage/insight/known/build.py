"""The base of bugs that kill the PHP installed here: newer regression tests, run and triaged.

Each test runs first for its signal only; those that die run once more for a whole core, which is triaged as any
other. All of it happens in the sandbox: the tests are foreign code.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from triage.errors import EnvironmentLacks
from triage.insight.known import news
from triage.insight.known.phpt import SETTINGS, Test, tests
from triage.insight.known.source import Source
from triage.insight.known.trace import stack, tokens
from triage.insight.narrow.oracle import needs_core_files
from triage.insight.sandbox import Sandbox, give, run
from triage.model import Crash, KnownBug
from triage.pipeline import Pipeline

_CORE = 1 << 30
_JIT = ("opcache.enable_cli=1", "opcache.jit=tracing", "opcache.jit_buffer_size=64M")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run the tests: a name and the settings that make it."""

    name: str
    settings: tuple[str, ...]


WAYS = (Way("as it is", ()), Way("with the JIT", _JIT))


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The PHP to try the tests on."""

    program: str
    version: str


def interpreter(program: str) -> Interpreter:
    """The PHP of that name.

    Raises:
        EnvironmentLacks: when it is not there or does not run.
    """
    path = shutil.which(program)
    if path is None:
        raise EnvironmentLacks(f"there is no {program!r} to try the tests on", help="Name it with --php.")
    done = subprocess.run([path, "-n", "-r", "echo PHP_VERSION;"], capture_output=True, timeout=30, check=False)
    if done.returncode:
        raise EnvironmentLacks(f"{path} does not run as PHP")
    return Interpreter(path, done.stdout.decode("ascii", "replace"))


def build(
    source: Source, php: Interpreter, pipeline: Pipeline, sandbox: Sandbox, *, oldest: int,
    say: Callable[[str], None], ways: Sequence[Way] = WAYS,
) -> Iterator[KnownBug]:  # fmt: skip
    """Run the tests and give each bug that kills this PHP.

    Raises:
        EnvironmentLacks: where crashes leave no core files.
    """
    needs_core_files()
    fixes = _fixes(source.news)
    wanted = list(tests(source.tree, oldest))
    say(f"{len(wanted)} tests of {source.name} on PHP {php.version}")
    with tempfile.TemporaryDirectory(prefix="triage-known-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        tree = _readable(source.tree, folder)
        for at, test in enumerate(wanted):
            if at and at % 100 == 0:
                say(f"{at} tests done")
            for way in ways:
                crash = _crash(test, way, php, folder, tree, pipeline, sandbox)
                if crash is not None and tokens(stack(crash)):
                    yield _known(test, way, crash, fixes, source, php)


def _readable(tree: Path, folder: Path) -> Path:
    """The tree where the sandbox's user can read it: as a copy, since a cache below /root is closed to others."""
    copy = folder / "tree"
    shutil.copytree(tree, copy, symlinks=True, ignore=_odd)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def _odd(folder: str, names: list[str]) -> list[str]:
    """Pipes and sockets, which tests of an earlier run may have left."""
    paths = [Path(folder, name) for name in names]
    return [path.name for path in paths if not (path.is_file() or path.is_dir() or path.is_symlink())]


def _crash(
    test: Test, way: Way, php: Interpreter, folder: Path, tree: Path, pipeline: Pipeline, sandbox: Sandbox
) -> Crash | None:
    """The triaged crash of one test, `None` when it does not die."""
    if not _dies(test, way, php, folder, tree, sandbox):
        return None
    room = Path(tempfile.mkdtemp(dir=folder))
    try:
        give(room, sandbox.user)
        run(_argv(test, way, php, tree), room, test.environment, replace(sandbox, core=_CORE))
        core = next((path for path in room.glob("core*") if path.is_file()), None)
        return pipeline.triage(core).crash if core is not None else None
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _dies(test: Test, way: Way, php: Interpreter, folder: Path, tree: Path, sandbox: Sandbox) -> bool:
    room = Path(tempfile.mkdtemp(dir=folder))
    try:
        give(room, sandbox.user)
        return run(_argv(test, way, php, tree), room, test.environment, replace(sandbox, core=0)).signal is not None
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _argv(test: Test, way: Way, php: Interpreter, tree: Path) -> list[str]:
    """The command line; the script lies beside the test so that what it includes is found."""
    script = _place(test, tree).with_suffix(".php")
    if not script.exists():
        script.write_text(test.script, "utf-8", "surrogateescape")
        script.chmod(0o644)
    argv = [php.program]
    for setting in (*SETTINGS, *way.settings, *test.settings):
        argv += ["-d", setting]
    return [*argv, str(script), *test.sections.get("ARGS", "").split()]


def _place(test: Test, tree: Path) -> Path:
    """The test's place in the copy of its tree."""
    return next(tree.joinpath(*test.path.parts[at:]) for at in range(1, len(test.path.parts))
                if tree.joinpath(*test.path.parts[at:]).is_file())  # fmt: skip


def _known(
    test: Test, way: Way, crash: Crash, fixes: dict[str, news.Entry], source: Source, php: Interpreter
) -> KnownBug:
    name = f"GH-{test.bug}"
    fix = fixes.get(name)
    return KnownBug(
        bug=name, signature=crash.signature.key if crash.signature else "", frames=stack(crash),
        title=crash.signature.title if crash.signature else test.name, fixed=(fix.version,) if fix else (),
        entry=fix.text if fix else None, killed=php.version, source=source.name, script=test.script,
        settings=(*way.settings, *test.settings), extensions=test.extensions,
    )  # fmt: skip


def _fixes(text: str) -> dict[str, news.Entry]:
    """Each bug's entry, the oldest version that has it."""
    found: dict[str, news.Entry] = {}
    for entry in news.entries(text):
        for bug in entry.bugs:
            if bug not in found or news.number(entry.version) < news.number(found[bug].version):
                found[bug] = entry
    return found
