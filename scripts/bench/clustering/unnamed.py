"""Fresh bugs from PHP's regression tests: those without a bug's name, and those that show only in fouled memory.

The label of a test without a bug's name is its folder and its name without the number or variant at the
end: such tests are written several for one change. Left out, before any of their crashes was looked at: tests of a
limit that an older PHP does not have, which die in as many ways as there are tests; tests that end themselves with
a signal; tests that need a server or another machine.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import phptests
from phps import Php, home
from phptests import Test

from triage.insight.known.phpt import sections_of

_FOLDERS = ("Zend/tests", "tests/lang", "tests/classes", "tests/basic", "tests/func", "tests/output", "tests/strings",
            *(f"ext/{name}/tests" for name in (
                "standard", "spl", "date", "dom", "simplexml", "xml", "xmlreader", "xmlwriter", "soap", "mbstring",
                "intl", "json", "pcre", "reflection", "opcache", "ffi", "hash", "session", "random", "iconv",
                "libxml", "tokenizer", "filter", "phar", "fileinfo", "ctype", "calendar", "exif", "zlib", "sodium",
                "sysvshm", "sysvmsg", "sysvsem", "shmop", "bcmath")))  # fmt: skip
_NOT = re.compile(r"stack_limit|/network/|http|/sapi/|proc_nice|server")
_KILLS = re.compile(
    r"posix_kill|pcntl|proc_open|proc_terminate|shell_exec|exec\(|sleep\(|set_time_limit|stream_socket"
)
_VARIANT = re.compile(r"(?:[-_]?(?:variation|variant|error|basic|test|unix|win|64bit|32bit))?[-_]?\d*[a-z]?$")
_WORKERS = 2


def label(path: Path) -> str:
    """The bug a test without a bug's name stands for."""
    stem = _VARIANT.sub("", path.stem) or path.stem
    return f"t-{'-'.join(path.parts[1:-1])}-{stem}".replace("-tests", "").lower()


def unnamed(tree: Path) -> Iterator[Test]:
    """Every test without a bug's name that can be run from the command line, by path."""
    root = next(tree.glob("php-*"))
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*.phpt")):
            inside = path.relative_to(tree)
            if phptests._NAMED.match(path.stem) or _NOT.search(str(inside)):
                continue
            sections = sections_of(path)
            if "FILE" in sections and not phptests._CANNOT & set(sections) and not _KILLS.search(sections["FILE"]):
                yield Test(f"{path.parent.name}-{path.stem}", label(inside), str(inside), sections)


def dying(php: Php, mode: str) -> dict[str, list[str]]:
    """The fresh tests that kill this PHP in a mode (`plain`, `foul`): `{"unnamed": paths, "named": paths}`."""
    kept = home() / f"fresh-{php.name}-{mode}.json"
    if kept.exists():
        found: dict[str, list[str]] = json.loads(kept.read_text())
        return found
    environment: Mapping[str, str] = phptests.FOUL if mode == "foul" else {}
    place = php.work / f"fresh-dying-{mode}"

    def one(numbered: tuple[int, Test]) -> str | None:
        run = place / str(numbered[0])
        run.mkdir(parents=True, exist_ok=True)
        try:
            return numbered[1].path if phptests.dies(php, numbered[1], run, environment) else None
        finally:
            shutil.rmtree(run, ignore_errors=True)

    found = {}
    for kind, tests in (("unnamed", list(unnamed(php.tree))), ("named", phptests.tests(php.tree))):
        with ThreadPoolExecutor(_WORKERS) as pool:
            found[kind] = [path for path in pool.map(one, enumerate(tests)) if path]
        print(f"{php.name} {mode} {kind}: {len(found[kind])} of {len(tests)}", flush=True)
    kept.write_text(json.dumps(found, indent=0))
    return found


def load(path: Path) -> set[str]:
    """The paths of tests that a kept search found."""
    found: dict[str, list[str]] = json.loads(path.read_text())
    return {one for paths in found.values() for one in paths}
