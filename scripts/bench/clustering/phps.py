"""The PHPs that the corpus is made with: this machine's, those of other Debian releases, our own with symbols."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builds import SOURCES
from builds import ensure as ensure_build

from tests.lab import suites
from tests.lab.headers import unpack
from tests.lab.phpt import source
from tests.lab.suites import CannotMake
from triage.demo.crashes import find_php

# Extensions that these hosts' packages of PHP come without, by the package that has them.
_EXTRA = ("xml", "soap", "mbstring", "intl", "bcmath")
_FILES = ("dom", "simplexml", "xml", "xmlreader", "xmlwriter", "soap", "mbstring", "intl", "bcmath")


@dataclass(frozen=True, slots=True)
class Php:
    """A `php` that can be made to crash.

    `root` is the root folder it lives in (`None`: this machine), `tree` the regression tests where
    it can see them, `extensions` the files, as it sees them, of extensions that it does not load by itself.
    `views` are the folders of debug files with which one core is read: none, or with symbols.
    """

    name: str
    version: tuple[int, int]
    program: str
    tree: Path
    work: Path
    root: Path | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    zend_extensions: Mapping[str, str] = field(default_factory=dict)
    views: tuple[tuple[str, Path | None], ...] = (("stripped", None),)

    def inside(self, path: Path) -> str:
        """`path` as the process sees it."""
        return str(path) if self.root is None else "/" + str(path.relative_to(self.root))

    def command(self, run: Path, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The command line that runs this PHP with `argv` in the folder `run`."""
        if self.root is None:
            return (self.program, *argv)
        return ("/usr/sbin/chroot", str(self.root), "/usr/bin/env", "-C", self.inside(run), self.program, *argv)


def home() -> Path:
    """Where all of the corpus is kept."""
    return suites.folder().parent / "clustering"


def _tree(place: Path) -> Path:
    """The regression tests, linked to `place`."""
    if not (place / ".whole").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source(), place, copy_function=os.link, symlinks=True)
    return place


def _extensions(suite: str, php: str, to: Path | None, root: Path | None) -> dict[str, str]:
    packages = tuple(f"php{php}-{name}" for name in _EXTRA) + (("libonig5",) if root else ())
    place = unpack(suite, f"extensions-{php}", packages, "amd64")
    found = {}
    for file in sorted(place.glob("usr/lib/php/*/*.so")):
        if file.stem not in _FILES:
            continue
        if to is None or root is None:
            found[file.stem] = str(file)
            continue
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to / file.name)
        found[file.stem] = "/" + str((to / file.name).relative_to(root))
    if root is not None:
        for library in place.glob("usr/lib/*/*.so*"):
            target = root / library.relative_to(place)
            if not target.exists():
                shutil.copy(library, target, follow_symlinks=False)
    if root is not None and not list(root.glob("usr/lib/*/libicuio.so*")):
        found.pop("intl", None)
    return found


def host() -> Php:
    """This machine's own, with the extensions Debian has for it."""
    php = find_php()
    if php is None:
        raise CannotMake("there is no php here")
    work = home() / "host"
    extensions = _extensions("bookworm", f"{php.version[0]}.{php.version[1]}", None, None)
    return Php(
        f"debian-{php.text.split()[-1]}", php.version, php.path, _tree(work / "tree"), work, extensions=extensions
    )


def of_suite(name: str) -> Php:
    """That of another Debian release."""
    suite = next(suite for suite in suites.SUITES if suite.name == name)
    root = suites.ensure(suite)
    work = root / "opt" / "clustering"
    major, minor = map(int, suite.php.split("."))
    try:
        extensions = _extensions(name, suite.php, work / "extensions", root)
    except CannotMake:
        extensions = {}
    return Php(f"{name}-{suite.php}", (major, minor), f"/usr/bin/php{suite.php}", _tree(work / "tree"), work, root,
               extensions)  # fmt: skip


def own(version: str | None = None) -> Iterator[Php]:
    """Our own builds, whose cores are read stripped and with symbols."""
    for source_ in SOURCES:
        if version not in (None, source_.version):
            continue
        build = ensure_build(source_)
        major, minor, _ = map(int, build.version.split("."))
        work = home() / f"own-{build.version}"
        yield Php(f"own-{build.version}", (major, minor), str(build.php), _tree(work / "tree"), work,
                  zend_extensions={"opcache": str(build.opcache)},
                  views=(("stripped", None), ("symbols", build.debug)))  # fmt: skip
