"""Real bugs of PHP, from its own regression tests: those that kill the PHP of this machine.

A fix comes with a test that died before it. A newer release's tests, run by an older PHP that never
got the fix, are real crashes with a known cause. The tests come from Debian's source package of a
newer PHP; nothing of them is kept in this project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab.alone import alone
from tests.lab.places import folder
from tests.lab.suites import MIRROR, CannotMake
from triage.demo.lab import NoCrash, Process, crash
from triage.insight.known.phpt import environment_of, sections_of, settings_of

SOURCE = f"{MIRROR}/pool/main/p/php8.4/php8.4_8.4.24.orig.tar.xz"
_OLDEST = 15_000
_NAME = re.compile(r"gh-?(\d+)", re.I)
_FETCH = (
    "import shutil, sys, urllib.request as u; shutil.copyfileobj(u.urlopen(sys.argv[1]), open(sys.argv[2], 'wb'))"
)
_SECONDS = 600
# What run-tests.php sets for every test, as far as it matters here.
_SETTINGS = ("output_buffering=Off", "error_reporting=32767", "display_errors=1", "log_errors=0", "html_errors=0",
             "memory_limit=128M", "opcache.fast_shutdown=0", "opcache.file_update_protection=0",
             "opcache.jit_hot_loop=1", "opcache.jit_hot_func=1", "opcache.jit_hot_return=1",
             "opcache.jit_hot_side_exit=1", "zend.assertions=1", "session.auto_start=0")  # fmt: skip

_JIT = ("opcache.enable_cli=1", "opcache.jit=tracing", "opcache.jit_buffer_size=64M")


@dataclass(frozen=True, slots=True)
class Test:
    """One regression test: the bug's number, its script, its settings."""

    __test__ = False

    name: str
    number: int
    path: Path
    sections: Mapping[str, str]
    more: tuple[str, ...] = ()

    def with_jit(self) -> Test:
        """The same test with opcache and its tracing JIT on, which many bugs need."""
        return replace(self, name=f"{self.name}+jit", more=_JIT)

    @property
    def settings(self) -> tuple[str, ...]:
        """The ini settings it is run with beside those of every test, as `name=value`; its own come last."""
        return (*self.more, *settings_of(self.sections, str(self.path.parent)))


@alone
def source() -> Path:
    """The tests of a newer PHP, unpacked in the user's cache.

    Raises:
        CannotMake: when the source package cannot be fetched.
    """
    place = folder().parent / "phpt"
    if (place / ".whole").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    archive = place / "source.tar.xz"
    done = subprocess.run(
        [sys.executable, "-c", _FETCH, SOURCE, str(archive)], capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise CannotMake(f"{SOURCE} cannot be fetched: {done.stderr.decode(errors='replace').splitlines()[-1:]}")
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data", members=(m for m in packed if "/tests/" in m.name))
    archive.unlink()
    (place / ".whole").touch()
    return place


def tests(tree: Path) -> Iterator[Test]:
    """The tests that are named after an issue of GitHub's time, by number; twins of one issue included."""
    found = []
    for path in sorted(tree.rglob("*.phpt")):
        named = _NAME.match(path.stem)
        if named and int(named[1]) >= _OLDEST:
            sections = sections_of(path)
            if "FILE" in sections and not {"POST", "POST_RAW", "GET", "CGI", "PHPDBG"} & set(sections):
                found.append(Test(path.stem, int(named[1]), path, sections))
    return iter(sorted(found, key=lambda test: (test.number, test.name)))


def command(test: Test, *, extensions: Mapping[str, Path] | None = None) -> list[str]:
    """The command line that runs a test. `extensions` are files of extensions that PHP does not load by itself."""
    argv = ["php"]
    for name in test.sections.get("EXTENSIONS", "").split():
        if extensions and name in extensions:
            argv += ["-d", f"extension={extensions[name]}"]
    for setting in (*_SETTINGS, *test.settings):
        argv += ["-d", setting]
    return [*argv, str(_script(test)), *test.sections.get("ARGS", "").split()]


def _script(test: Test) -> Path:
    """The test's script, beside the test so that what it includes is found."""
    script = test.path.with_suffix(".php")
    if not script.exists():
        script.write_text(test.sections["FILE"], "utf-8", "surrogateescape")
    return script


def environment(test: Test) -> dict[str, str]:
    """The variables a test asks for."""
    return environment_of(test.sections)


def dies(test: Test, run: Path) -> bool:
    """Whether the test kills PHP with a signal."""
    run.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command(test), cwd=run, env={**os.environ, **environment(test)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20, check=False,
            preexec_fn=_no_core,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode < 0


def _no_core() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def core_of(test: Test, place: Path) -> Path | None:
    """The core the test leaves, as `NAME.core` in `place`; `None` when it does not die (any more)."""
    run = place / test.name
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    try:
        process = Process(argv=tuple(command(test)), folder=run, env=environment(test))
        return crash(process, place / f"{test.name}.core")
    except NoCrash:
        return None
    finally:
        shutil.rmtree(run, ignore_errors=True)


def valgrind(test: Test, run: Path) -> str:
    """What valgrind says of the same test, PHP's own allocator switched off so that it sees every block."""
    run.mkdir(parents=True, exist_ok=True)
    log = run / f"{test.name}.valgrind"
    argv = ["valgrind", "-q", "--undef-value-errors=no", "--num-callers=12", f"--log-file={log}", *command(test)]
    env = {**os.environ, **environment(test), "USE_ZEND_ALLOC": "0", "ZEND_DONT_UNLOAD_MODULES": "1"}
    try:
        subprocess.run(
            argv, cwd=run, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=180, check=False, preexec_fn=_no_core,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "it took longer than 180 s"
    return log.read_text(errors="replace")
