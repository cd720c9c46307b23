"""PHP built from Debian's source with debug information, which Debian's own packages on the mirror come without.

The program is stripped as Debian's are; what was taken out lies beside it as debug files, so that one
core can be read both ways. Needs gcc, make and libffi's headers. Nothing is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.places import folder
from tests.lab.suites import MIRROR, CannotMake

_SECONDS = 5400
_FETCH = "import sys, urllib.request as web; web.urlretrieve(*sys.argv[1:])"
# Few extensions and little optimisation: other decisions on what to inline than Debian's build has, and done sooner.
_COMMON = ("--disable-all", "--enable-cli", "--disable-cgi", "--disable-phpdbg", "--enable-opcache",
           "--enable-ctype", "--enable-posix", "--enable-session", "--enable-tokenizer", "--enable-filter",
           "--with-ffi")  # fmt: skip
_FLAGS = ("CFLAGS=-O1 -g1 -w", "CXXFLAGS=-O1 -g1 -w", "LDFLAGS=-Wl,--build-id")
_JOBS = 4


@dataclass(frozen=True, slots=True)
class Source:
    """A PHP to build: its version, where Debian keeps the source, switches beside the common ones."""

    version: str
    path: str
    switches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """A stripped `php`, its opcache, and the folder with the debug files of both."""

    version: str
    php: Path
    opcache: Path
    debug: Path


SOURCES = (Source("8.2.32", "php8.2/php8.2_8.2.32"),)


def place_of(source: Source) -> Path:
    """Where a build is kept."""
    return folder().parent / "clustering" / "builds" / source.version


def ensure(source: Source) -> Build:
    """The build, made if it is not there yet (ten minutes on two cores).

    Raises:
        CannotMake: when a step fails.
    """
    place = place_of(source)
    build = Build(source.version, place / "php", place / "opcache.so", place / "debug")
    if (place / ".whole").exists():
        return build
    shutil.rmtree(place, ignore_errors=True)
    tree = place / "source"
    tree.mkdir(parents=True)
    archive = place / "source.tar.xz"
    _run([sys.executable, "-c", _FETCH, f"{MIRROR}/pool/main/p/{source.path}.orig.tar.xz", str(archive)], place)
    _run(["tar", "xf", str(archive), "--strip-components=1", "-C", str(tree)], place)
    _run(["./configure", *_COMMON, *source.switches, *_FLAGS], tree)
    _run(["make", f"-j{_JOBS}"], tree)
    _split(tree / "sapi/cli/php", build.php, build.debug)
    _split(tree / "modules/opcache.so", build.opcache, build.debug)
    shutil.rmtree(tree)
    archive.unlink()
    (place / ".whole").touch()
    return build


def _split(made: Path, target: Path, debug: Path) -> None:
    """Strip `made` to `target`; what was taken out lies under `debug` by its build-id."""
    split_debug(made, debug)
    _run(["strip", "--strip-all", "-o", str(target), str(made)], target.parent)


def split_debug(made: Path, debug: Path) -> None:
    """Put the debug information of `made` where --debug-dir finds it."""
    said = subprocess.run(["readelf", "-n", str(made)], capture_output=True, text=True, check=True).stdout
    build_id = said.split("Build ID: ", 1)[1].split()[0]
    file = debug / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    file.parent.mkdir(parents=True, exist_ok=True)
    _run(["objcopy", "--only-keep-debug", str(made), str(file)], made.parent)


def _run(command: list[str], where: Path) -> None:
    done = subprocess.run(
        command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()[-4:]
        raise CannotMake(f"{command[0]} failed: {' / '.join(said)}")


if __name__ == "__main__":
    for each in SOURCES:
        print(each.version, ensure(each), file=sys.stderr)
