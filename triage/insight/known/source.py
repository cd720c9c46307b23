"""A newer PHP's source: from a folder, an archive, or Debian's archive through apt. Only tests and NEWS are kept."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triage.config import cache_folder
from triage.errors import EnvironmentLacks, UsageError

_SECONDS = 900
_PACKAGE = re.compile(r"php\d+\.\d+")
_RELEASES = {"php8.4": "trixie", "php8.5": "sid"}
_MIRROR = "http://deb.debian.org/debian"
_MOST_FILE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A tree with tests. `name` says what it is; `news` is the text of its changelog."""

    tree: Path
    name: str
    news: str


def source(what: str, release: str | None) -> Source:
    """The source that `what` names: a folder, a .tar.* file, or a Debian package (`php8.4`).

    Raises:
        UsageError: when it names none of these.
        EnvironmentLacks: when apt cannot fetch it.
    """
    path = Path(what)
    if path.is_dir():
        return _tree(path, path.name)
    if path.is_file():
        return _tree(_unpacked(path), path.name)
    if _PACKAGE.fullmatch(what) is None:
        raise UsageError(f"{what!r} is no folder, no file and no package such as php8.4")
    archive = _fetched(what, release or _RELEASES.get(what, "sid"))
    return _tree(_unpacked(archive), archive.name.removesuffix(".orig.tar.xz").replace("_", " "))


def _tree(tree: Path, name: str) -> Source:
    news = next(iter(sorted(tree.glob("NEWS")) or sorted(tree.glob("*/NEWS"))), None)
    return Source(tree, name, news.read_text("utf-8", "replace") if news is not None else "")


def _unpacked(archive: Path) -> Path:
    """Its tests and NEWS in the cache, unpacked once."""
    stamp = archive.stat()
    place = cache_folder() / "known" / f"{archive.name}-{stamp.st_size}-{int(stamp.st_mtime)}"
    if (place / ".whole").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o755, parents=True)
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data", members=_wanted(packed))
    except (tarfile.TarError, OSError, EOFError) as error:
        shutil.rmtree(place, ignore_errors=True)
        raise UsageError(f"{archive} cannot be unpacked: {error}") from error
    (place / ".whole").touch()
    return place


def _wanted(packed: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in packed:
        news = member.name.count("/") == 1 and member.name.endswith("/NEWS")
        if member.isfile() and member.size < _MOST_FILE and ("/tests/" in member.name or news):
            yield member


def _fetched(package: str, release: str) -> Path:
    """The source archive through apt, with a list of its own: this machine's lists stay as they are."""
    folder = cache_folder() / "known" / "archives"
    known = sorted(folder.glob(f"{package}_*.orig.tar.xz"))
    if known:
        return known[-1]
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="triage-apt-") as work:
        place = Path(work)
        (place / "lists/partial").mkdir(parents=True)
        (place / "sources.list").write_text(f"deb-src {_mirror()} {release} main\n")
        apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={place}/sources.list", "-o",
               "Dir::Etc::sourceparts=/dev/null", "-o", f"Dir::State::lists={place}/lists", "-o",
               "APT::Sandbox::User=root", "-o", "Acquire::Check-Valid-Until=false"]  # fmt: skip
        for argv in ([*apt, "update"], [*apt, "source", "--download-only", "--only-source", package]):
            _apt(argv, place, package)
        found = sorted(place.glob(f"{package}_*.orig.tar.*"))
        if not found:
            raise EnvironmentLacks(f"{release} has no source of {package}", help="Name another --release.")
        return Path(shutil.move(found[-1], folder / found[-1].name))


def _apt(argv: list[str], place: Path, package: str) -> None:
    try:
        done = subprocess.run(argv, cwd=place, capture_output=True, timeout=_SECONDS, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentLacks(f"apt cannot fetch the source of {package}: {error}") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = [line for line in lines if line.startswith("E:")][:1] or lines[-1:]
        raise EnvironmentLacks(
            f"apt cannot fetch the source of {package}: {''.join(said)}",
            help="Fetch it on another machine and give the .tar.xz to `triage known build`.",
        )


def _mirror() -> str:
    """The mirror this machine uses for Debian, else Debian's own."""
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue
        found = re.search(r"^(?:URIs:|deb)\s+(?:\[[^]]*\]\s+)?(https?://\S+/debian/?)(?:\s|$)", text, re.M)
        if found:
            return found[1]
    return _MIRROR
