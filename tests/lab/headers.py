"""Headers of PHP from any Debian release, unpacked into the user's cache: nothing is installed.

apt gets its own lists, cache and sources in a folder of its own, so neither this system's packages
nor its apt are touched, and no root is needed.

    python -m tests.lab.headers         fetch those that the tests compare
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.suites import MIRROR, CannotMake, folder

_SECONDS = 300
# Suites whose security updates lie in an archive of their own, beside the main one.
_WITH_SECURITY = ("bullseye", "bookworm", "trixie")


@dataclass(frozen=True, slots=True)
class Headers:
    """The PHP that a Debian suite ships the headers of."""

    suite: str
    php: str

    @property
    def package(self) -> str:
        """The package with the headers."""
        return f"php{self.php}-dev"


HEADERS = (
    Headers("bullseye", "7.4"),
    Headers("bookworm", "8.2"),
    Headers("trixie", "8.4"),
    Headers("experimental", "8.5"),
)


def fetch(headers: Headers, architecture: str | None = None) -> Path:
    """The folder that holds `main/php.h`, as Debian's package for an architecture has it; fetched once.

    Raises:
        CannotMake: without apt, or when the package cannot be had.
    """
    return header_tree(unpack(headers.suite, headers.package, architecture))


def header_tree(place: Path) -> Path:
    """The header tree in an unpacked package.

    Raises:
        CannotMake: when there is none.
    """
    trees = sorted(place.glob("usr/include/php/*/main/php.h"))
    if not trees:
        raise CannotMake(f"{place} holds no headers of PHP")
    return trees[-1].parent.parent


def unpack(suite: str, package: str, architecture: str | None = None) -> Path:
    """The folder with the contents of a suite's package: made once, kept in the user's cache.

    `architecture` is Debian's word for it, such as `arm64`; this machine's when not given.

    Raises:
        CannotMake: when apt cannot fetch it.
    """
    place = folder().parent / "headers" / suite / (f"{package}:{architecture}" if architecture else package)
    if place.is_dir():
        return place
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise CannotMake("packages can only be fetched where there is apt")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as work:
        try:
            fresh = _download(Path(work, "new"), package, _sources(suite), architecture)
        except CannotMake:
            # Of a release past its life, the security archive's index may name files no longer there.
            fresh = _download(Path(work, "old"), package, _sources(suite)[:1], architecture)
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


def _download(work: Path, package: str, sources: list[str], architecture: str | None) -> Path:
    environment = _apt(work, sources, architecture)
    _run(["apt-get", "-q", "update"], work, environment)
    _run(["apt-get", "-q", "download", package], work, environment)
    (archive,) = work.glob(f"{package}_*.deb")
    _run(["dpkg-deb", "-x", str(archive), "files"], work, environment)
    return work / "files"


def _apt(work: Path, sources: list[str], architecture: str | None) -> dict[str, str]:
    """An environment in which apt knows only these sources and writes only below `work`."""
    for name in ("lists/partial", "cache/archives/partial", "none"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources.list").write_text("\n".join(sources) + "\n")
    options = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": work / "none",
        "Dir::Etc::preferences": work / "none/preferences",
        "Dir::Etc::preferencesparts": work / "none",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        # A mirror that stands still is fine: nothing here is served to anybody.
        "Acquire::Check-Valid-Until": "false",
        "APT::Sandbox::User": "root",  # the folder may be closed to apt's own user
        "Debug::NoLocking": "true",
    }
    if architecture:
        options["APT::Architecture"] = architecture
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
        print(each.package, fetch(each), file=sys.stderr)
