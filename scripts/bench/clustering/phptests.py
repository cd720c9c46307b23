"""PHP's own regression tests that kill an older PHP: bugs with a name, found by running them all once."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from phps import Php, home

from triage.insight.known.phpt import environment_of, sections_of, settings_of

# What the first two parts of a test's name say of the bug it is about.
_NAMED = re.compile(r"^(bug|gh|oss-?fuzz|oss|ghsa|issue)[-_]?(\d+)", re.I)
_CANNOT = {"POST", "POST_RAW", "GET", "CGI", "PHPDBG", "PUT", "COOKIE", "STDIN"}
_SECONDS = 10
_WORKERS = 3
SETTINGS = ("output_buffering=Off", "error_reporting=32767", "display_errors=1", "log_errors=0", "html_errors=0",
            "memory_limit=128M", "opcache.file_update_protection=0", "zend.assertions=1",
            "session.auto_start=0", "date.timezone=UTC", "short_open_tag=1")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Test:
    """One regression test. `bug` is the label: tests of one bug share it; `path` is relative to the tree."""

    __test__ = False

    name: str
    bug: str
    path: str
    sections: Mapping[str, str]

    @property
    def extensions(self) -> tuple[str, ...]:
        """What it says it needs."""
        return tuple(self.sections.get("EXTENSIONS", "").split())

    @property
    def environment(self) -> dict[str, str]:
        """The variables it asks for."""
        return environment_of(self.sections)

    def settings(self, folder: str) -> tuple[str, ...]:
        """Its own ini settings as `name=value`."""
        return settings_of(self.sections, folder)


def tests(tree: Path) -> list[Test]:
    """Every test that is named after a bug and can be run from the command line, by path."""
    found = []
    for path in sorted(tree.rglob("*.phpt")):
        named = _NAMED.match(path.stem)
        if named is None or path.is_relative_to(tree / "php-8.4.24" / "sapi"):  # those kill themselves on purpose
            continue
        sections = sections_of(path)
        if "FILE" in sections and not _CANNOT & set(sections):
            kind = re.sub(r"oss.*", "oss", named[1].lower())
            found.append(Test(path.stem, f"{kind}-{int(named[2])}", str(path.relative_to(tree)), sections))
    return found


def options(php: Php, test: Test) -> tuple[str, ...]:
    """The `-d` options a test is run with."""
    folder = php.inside((php.tree / test.path).parent)
    loaded = [f"extension={php.extensions[name]}" for name in _needed(test) if name in php.extensions]
    zend = [f"zend_extension={php.zend_extensions[n]}" for n in test.extensions if n in php.zend_extensions]
    return tuple(part for value in (*loaded, *zend, *SETTINGS, *test.settings(folder)) for part in ("-d", value))


def _needed(test: Test) -> tuple[str, ...]:
    """Extensions in an order in which they load: some rest on others."""
    wanted = dict.fromkeys(test.extensions)
    if "xmlreader" in wanted or "soap" in wanted:
        wanted.setdefault("dom")
    return tuple(sorted(wanted, key=lambda name: (name != "dom", name)))


def script(php: Php, test: Test, text: str | None = None, suffix: str = ".php") -> str:
    """The test's script (or `text` in its place) beside the test, as the process sees it."""
    path = (php.tree / test.path).with_suffix(suffix)
    path.unlink(missing_ok=True)
    path.write_text(test.sections["FILE"] if text is None else text, "utf-8", "surrogateescape")
    return php.inside(path)


def dies(php: Php, test: Test, run: Path, environment: Mapping[str, str]) -> bool:
    """Whether the test kills this PHP with a signal."""
    argv = php.command(run, (*options(php, test), script(php, test), *test.sections.get("ARGS", "").split()))
    try:
        done = subprocess.run(
            argv, cwd=run, env={**os.environ, **test.environment, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False,
            preexec_fn=_no_core, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode < 0


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


FOUL = {"USE_ZEND_ALLOC": "0", "MALLOC_PERTURB_": "165"}
"""Without PHP's own allocator, and with freed memory filled with a pattern: more mistakes show."""


def deadly(php: Php, mode: str) -> list[str]:
    """The paths of the tests that kill this PHP (`plain`, or `foul`: see FOUL), found once and kept."""
    kept = home() / f"deadly-{php.name}-{mode}.json"
    if kept.exists():
        found: list[str] = json.loads(kept.read_text())
        return found
    environment = FOUL if mode == "foul" else {}
    place = php.work / f"dying-{mode}"

    def one(numbered: tuple[int, Test]) -> str | None:
        run = place / str(numbered[0])
        run.mkdir(parents=True, exist_ok=True)
        try:
            return numbered[1].path if dies(php, numbered[1], run, environment) else None
        finally:
            shutil.rmtree(run, ignore_errors=True)

    with ThreadPoolExecutor(_WORKERS) as pool:
        found = [path for path in pool.map(one, enumerate(tests(php.tree))) if path]
    kept.write_text(json.dumps(found, indent=0))
    return found


def select(php: Php, paths: list[str]) -> Iterator[Test]:
    """The tests at these paths."""
    wanted = set(paths)
    return (test for test in tests(php.tree) if test.path in wanted)
