"""PHP's regression tests: what each runs, and with which settings.

Source of the format: php-src, docs of run-tests.php (https://qa.php.net/phpt_details.php).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_SECTION = re.compile(r"^--([A-Z_]+)--\s*$", re.M)
_NAME = re.compile(r"gh-?(\d+)", re.I)
_NEED_MORE = frozenset({"POST", "POST_RAW", "PUT", "GET", "COOKIE", "CGI", "PHPDBG", "DEFLATE_POST", "GZIP_POST"})
_MOST = 512 * 1024
# What run-tests.php sets for every test, as far as it decides about crashes; the JIT counts as hot at once, which
# makes one short run do what hours of load do.
SETTINGS = ("output_buffering=Off", "error_reporting=32767", "display_errors=1", "log_errors=0", "html_errors=0",
            "memory_limit=128M", "opcache.file_update_protection=0", "opcache.jit_hot_loop=1",
            "opcache.jit_hot_func=1", "opcache.jit_hot_return=1", "opcache.jit_hot_side_exit=1", "zend.assertions=1",
            "session.auto_start=0")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Test:
    """One regression test of a bug. `sections` by name, without their marks."""

    __test__ = False

    bug: int
    path: Path
    sections: Mapping[str, str]

    @property
    def name(self) -> str:
        """`gh17577`, or with a number where a bug has several tests."""
        return self.path.stem

    @property
    def script(self) -> str:
        """The PHP code."""
        return self.sections["FILE"]

    @property
    def settings(self) -> tuple[str, ...]:
        """Its own ini settings as `name=value`."""
        return settings_of(self.sections, str(self.path.parent))

    @property
    def extensions(self) -> tuple[str, ...]:
        """Extensions it says it needs."""
        return tuple(self.sections.get("EXTENSIONS", "").split())

    @property
    def environment(self) -> dict[str, str]:
        """Variables it asks for."""
        return environment_of(self.sections)


def sections_of(path: Path) -> dict[str, str]:
    """The sections of a test's file by name, without their marks."""
    parts = _SECTION.split(path.read_text("utf-8", "surrogateescape"))
    return dict(zip(parts[1::2], (part.lstrip("\n") for part in parts[2::2]), strict=False))


def settings_of(sections: Mapping[str, str], folder: str) -> tuple[str, ...]:
    """A test's own ini settings as `name=value`; `folder` is where the test lies."""
    lines = sections.get("INI", "").replace("{PWD}", folder).splitlines()
    return tuple(re.sub(r"\s*=\s*", "=", line.strip(), count=1) for line in lines if "=" in line)


def environment_of(sections: Mapping[str, str]) -> dict[str, str]:
    """Variables a test asks for."""
    return dict(line.split("=", 1) for line in sections.get("ENV", "").splitlines() if "=" in line)


def read(path: Path) -> Test | None:
    """The test in a file; `None` when it tests no bug by number, or cannot be run on a command line."""
    named = _NAME.match(path.stem)
    if named is None or path.stat().st_size > _MOST:
        return None
    sections = sections_of(path)
    if "FILE" not in sections or _NEED_MORE & set(sections):
        return None
    return Test(int(named[1]), path, sections)


def tests(tree: Path, oldest: int) -> Iterator[Test]:
    """The tests below a folder for issues numbered `oldest` and above, in order."""
    found = (read(path) for path in sorted(tree.rglob("*.phpt")))
    wanted = [test for test in found if test is not None and test.bug >= oldest]
    return iter(sorted(wanted, key=lambda test: (test.bug, test.name)))
