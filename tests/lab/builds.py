"""PHP built from Debian's source in ways no Debian package is: thread-safe, embedded, with no names exported.

Nothing is installed; the build stays in the user's cache (two minutes on two cores, once).

    python -m tests.lab.builds
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.alone import alone
from tests.lab.places import folder
from tests.lab.suites import MIRROR, CannotMake

SOURCE = f"{MIRROR}/pool/main/p/php8.2/php8.2_8.2.32.orig.tar.xz"
VERSION = (8, 2)
_SECONDS = 1500
_EMBED = Path(__file__).parent.parent.parent / "fixtures" / "c" / "embed.c"


@dataclass(frozen=True, slots=True)
class Builds:
    """The programs of one source tree, all thread-safe.

    `plain` has every name, `stripped` only those it exports, `hidden` exports none and has no
    table of symbols, `embed` is a program of ours with one PHP per thread.
    """

    plain: Path
    stripped: Path
    hidden: Path
    embed: Path


@alone
def ensure() -> Builds:
    """The programs, built if they are not there yet.

    Raises:
        CannotMake: without a compiler, or when a step fails.
    """
    place = folder().parent / "builds" / "8.2-zts"
    found = Builds(*(place / name for name in ("php-plain", "php-stripped", "php-hidden", "embed")))
    if (place / ".whole").exists():
        if found.embed.stat().st_mtime < _EMBED.stat().st_mtime:
            _embed(place / "source", found.embed)
        return found
    if shutil.which("gcc") is None or shutil.which("make") is None:
        raise CannotMake("gcc or make is not installed")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    tree = place / "source"
    tree.mkdir()
    archive = place / "source.tar.xz"
    _run([sys.executable, "-c", _FETCH, SOURCE, str(archive)], place)
    _run(["tar", "xf", str(archive), "--strip-components=1", "-C", str(tree)], place)
    switches = ("--disable-all", "--enable-cli", "--enable-zts", "--enable-posix", "--enable-embed=static")
    _run(["./configure", *switches, "CFLAGS=-O2"], tree)
    _run(["make", f"-j{os.cpu_count() or 1}"], tree)
    shutil.copy(tree / "sapi/cli/php", found.plain)
    _run(["strip", "--strip-all", "-o", str(found.stripped), str(found.plain)], place)
    _embed(tree, found.embed)
    # The last link once more, this time without making the program's names known to others.
    makefile = tree / "Makefile"
    makefile.write_text(makefile.read_text().replace("-export-dynamic", ""))
    (tree / "sapi/cli/php").unlink()
    _run(["make", "sapi/cli/php"], tree)
    _run(["strip", "--strip-all", "-o", str(found.hidden), str(tree / "sapi/cli/php")], place)
    (place / ".whole").touch()
    return found


_FETCH = "import sys, urllib.request as web; web.urlretrieve(*sys.argv[1:])"


def _embed(tree: Path, target: Path) -> None:
    includes = [f"-I{tree / part}" for part in (".", "main", "TSRM", "Zend")]
    library = next(path for path in (tree / "libs/libphp.a", tree / ".libs/libphp.a") if path.exists())
    libraries = ["-lpthread", "-lm", "-ldl", "-lresolv", "-lcrypt", "-lrt"]
    flags = ["-O1", "-rdynamic", "-DZTS=1", "-pthread"]
    _run(["gcc", *flags, *includes, "-o", str(target), str(_EMBED), str(library), *libraries], tree)


def _run(command: list[str], where: Path) -> None:
    done = subprocess.run(
        command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()[-3:]
        raise CannotMake(f"{command[0]} failed: {' / '.join(said)}")


if __name__ == "__main__":
    print(ensure(), file=sys.stderr)
