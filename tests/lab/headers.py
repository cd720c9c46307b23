"""Headers of PHP from any Debian release, and a cross compiler, unpacked below the user's cache.

apt gets lists, cache and sources of its own, so neither this system's packages nor its apt are
touched, and no root is needed.

    python -m tests.lab.headers         fetch what the tests compare
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.places import folder
from tests.lab.suites import MIRROR, CannotMake

_SECONDS = 300
# Suites whose security updates lie in an archive of their own, beside the main one.
_WITH_SECURITY = ("bullseye", "bookworm", "trixie")
_CROSS = (
    *("gcc-12-aarch64-linux-gnu", "cpp-12-aarch64-linux-gnu", "binutils-aarch64-linux-gnu"),
    *("libgcc-12-dev-arm64-cross", "libc6-dev-arm64-cross", "linux-libc-dev-arm64-cross"),
)
# What could not be had in this run, and why: without a network, each attempt takes its time.
_refused: dict[Path, str] = {}


@dataclass(frozen=True, slots=True)
class Headers:
    """The minor version of PHP whose headers a Debian suite has."""

    suite: str
    php: str


HEADERS = (
    Headers("bullseye", "7.4"),
    Headers("bookworm", "8.2"),
    Headers("trixie", "8.4"),
    Headers("experimental", "8.5"),
)


def fetch(headers: Headers, architecture: str = "amd64") -> Path:
    """The folder that holds `main/php.h`, from Debian's package for an architecture; fetched once.

    Raises:
        CannotMake: without apt, or when the package cannot be had.
    """
    package = f"php{headers.php}-dev"
    place = unpack(headers.suite, f"{package}-{architecture}", (package,), architecture)
    return header_tree(place)


def header_tree(place: Path) -> Path:
    """The header tree at or below a folder, be it an unpacked package or the tree itself.

    Raises:
        CannotMake: when there is none.
    """
    trees = sorted(place.glob("usr/include/php/*/main/php.h")) or sorted(place.glob("main/php.h"))
    if not trees:
        raise CannotMake(f"{place} holds no headers of PHP")
    return trees[-1].parent.parent


def cross_compiler() -> tuple[str, ...]:
    """A command that compiles C for aarch64 on x86-64.

    Raises:
        CannotMake: when the packages cannot be had, or do not run here.
    """
    root = unpack("bookworm", "gcc-aarch64", _CROSS, "amd64")
    libraries = root / "usr/lib/x86_64-linux-gnu"
    command = ("env", f"LD_LIBRARY_PATH={libraries}", str(root / "usr/bin/aarch64-linux-gnu-gcc-12"))
    with tempfile.TemporaryDirectory() as work:
        source = Path(work, "empty.c")
        source.write_text("#include <stddef.h>\n")
        _run([*command, "-c", str(source)], Path(work), dict(os.environ))
    return command


def unpack(suite: str, name: str, packages: tuple[str, ...], architecture: str) -> Path:
    """The folder `name` with the contents of a suite's packages: made once, kept in the user's cache.

    Raises:
        CannotMake: when apt cannot fetch them.
    """
    place = folder().parent / "headers" / suite / name
    if place.is_dir():
        return place
    if place in _refused:
        raise CannotMake(_refused[place])
    try:
        return _make(place, suite, packages, architecture)
    except CannotMake as reason:
        _refused[place] = str(reason)
        raise


def _make(place: Path, suite: str, packages: tuple[str, ...], architecture: str) -> Path:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotMake("packages can only be fetched where there is apt")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        try:
            fresh = _download(Path(work, "new"), packages, _sources(suite), architecture)
        except CannotMake:
            # Of a release past its life, the security archive's index may name files no longer there.
            fresh = _download(Path(work, "old"), packages, _sources(suite)[:1], architecture)
        try:
            fresh.rename(place)
        except OSError:
            # Another run finished first; anything else is an error.
            if not place.is_dir():
                raise
    return place


def _sources(suite: str) -> list[str]:
    lines = [f"deb {MIRROR} {suite} main"]
    if suite in _WITH_SECURITY:
        lines.append(f"deb {MIRROR.rstrip('/')}-security {suite}-security main")
    return lines


def _download(work: Path, packages: tuple[str, ...], sources: list[str], architecture: str) -> Path:
    environment = _apt(work, sources, architecture)
    _run(["apt-get", "-q", "update"], work, environment)
    _run(["apt-get", "-q", "download", *packages], work, environment)
    for archive in sorted(work.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(archive), "files"], work, environment)
    return work / "files"


def _apt(work: Path, sources: list[str], architecture: str) -> dict[str, str]:
    """An environment in which apt knows only these sources and writes only below `work`."""
    for name in ("lists/partial", "cache/archives/partial", "none"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text("\n".join(sources) + "\n")
    options = {
        "APT::Architecture": architecture,
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": work / "none",
        "Dir::Etc::preferences": work / "none/preferences",
        "Dir::Etc::preferencesparts": work / "none",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        # A mirror that stands still is fine: nothing here is served to anybody.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Retries": "1",
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root",  # the folder may be closed to apt's own user
        "Debug::NoLocking": "true",
    }
    config = work / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
    return {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C.UTF-8"}


def _run(argv: list[str], work: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        argv,
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise CannotMake(f"{' '.join(argv[:3])} failed: {' / '.join(done.stderr.splitlines()[-3:])}")


if __name__ == "__main__":
    for each in HEADERS:
        print(each.suite, fetch(each), fetch(each, "arm64"), file=sys.stderr)
    print(*cross_compiler(), file=sys.stderr)
