"""Interpreters of other Debian releases, each in a small root folder of its own that `chroot` can enter.

Unlike tests.lab.suites no system is made: just the interpreter's packages and the libraries they load, unpacked by
tests.lab.headers. A folder is made once and kept in the user's cache.

    python -m tests.lab.interpreters          make all of them
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.headers import unpack
from tests.lab.places import place
from tests.lab.suites import CannotMake

_USUAL = ("libc6", "libgcc-s1", "zlib1g", "libexpat1")
_MERGED = ("bin", "sbin", "lib", "lib64")


@dataclass(frozen=True, slots=True)
class Call:
    """One frame of an interpreter's own stack, as it tells it; a Perl function with its package."""

    function: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Made:
    """A core, and the frames the interpreter reported (innermost first)."""

    core: Path
    frames: tuple[Call, ...]
    root: Path | None


@dataclass(frozen=True, slots=True)
class Release:
    """An interpreter of a Debian release: `program` within the root folder made of `packages`."""

    name: str
    suite: str
    program: str
    packages: tuple[str, ...]

    @property
    def version(self) -> tuple[int, int]:
        """`(3, 13)` for `python3.13`."""
        major, _, minor = self.name.lstrip("abcdefghijklmnopqrstuvwxyz").partition(".")
        return int(major), int(minor)


def _python(suite: str, version: str, *more: str) -> Release:
    parts = (f"python{version}-minimal", f"libpython{version}-minimal", f"libpython{version}-stdlib")
    return Release(f"python{version}", suite, f"/usr/bin/python{version}", (*_USUAL, *more, *parts))


PYTHONS = (
    _python("bullseye", "3.9", "libffi7", "libcrypt1"),
    _python("trixie", "3.13", "libffi8"),
    _python("sid", "3.14", "libffi8"),
    _python("sid", "3.15", "libffi8", "libzstd1"),
)


PERLS = tuple(
    Release(f"perl{version}", suite, "/usr/bin/perl", ("libc6", "libcrypt1", "perl-base"))
    for suite, version in (("bullseye", "5.32"), ("trixie", "5.40"), ("sid", "5.42"))
)


_RUBY = ("libc6", "libgcc-s1", "zlib1g", "libgmp10", "libcrypt1", "libyaml-0-2")
RUBIES = tuple(
    Release(f"ruby{version}", suite, f"/usr/bin/ruby{version}", (*_RUBY, f"ruby{version}", f"libruby{version}"))
    for suite, version in (("bookworm", "3.1"), ("trixie", "3.3"))
)


@dataclass(frozen=True, slots=True)
class Program:
    """An interpreter that can be run: its path, and the root folder it lives in (`None`: this machine)."""

    path: str
    version: tuple[int, int]
    root: Path | None = None

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The command line that runs it. Inside a root folder the working folder is `/`."""
        enter = ("chroot", str(self.root)) if self.root is not None else ()
        return (*enter, self.path, *arguments)

    def inside(self, path: Path) -> str:
        """What the process calls a path."""
        return str(path) if self.root is None else f"/{path.relative_to(self.root)}"

    def stage(self, scripts: Path, folder: Path) -> tuple[Path, Path]:
        """`(scripts, working folder)` where the process sees them; a root folder gets copies."""
        run = (place(self.root) if self.root is not None else folder) / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        if self.root is None:
            return scripts, run
        copy = place(self.root) / "scripts"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(scripts, copy)
        return copy, run


def ensure(release: Release) -> Program:
    """A release's interpreter, fetched if it is not there yet.

    Raises:
        CannotMake: without root or apt, or when the packages cannot be had.
    """
    if os.geteuid() != 0:
        raise CannotMake("chroot needs root")
    root = unpack(release.suite, f"root-{release.name}", release.packages, "amd64")
    for name in _MERGED:
        # Newer packages have all files below /usr; the links belong to a package that is not unpacked here.
        if not (root / name).exists() and (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("tmp", "dev"):
        (root / name).mkdir(exist_ok=True)
    return Program(release.program, release.version, root)


if __name__ == "__main__":
    for each in (*PYTHONS, *PERLS, *RUBIES):
        print(each.name, ensure(each).root, file=sys.stderr)
