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
_SECURITY = "http://deb.debian.org/debian-security"
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
    return _tree(_unpacked(archive), archive.name.partition(".orig.tar.")[0].replace("_", " "))


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
    """The source archive through apt, with a list of its own: this machine's lists stay as they are.

    Mirrors drop source files of versions that their lists still name, so each version that apt knows is tried.
    """
    folder = cache_folder() / "known" / "archives"
    known = sorted(folder.glob(f"{package}_*.orig.tar.*"))
    if known:
        return known[-1]
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="triage-apt-") as work:
        place = Path(work)
        (place / "lists/partial").mkdir(parents=True)
        (place / "sources.list").write_text("".join(f"{line}\n" for line in _lists(release)))
        own = ["-q", "-o", f"Dir::Etc::sourcelist={place}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
               "-o", f"Dir::State::lists={place}/lists", "-o", "APT::Sandbox::User=root",
               "-o", "Acquire::Check-Valid-Until=false"]  # fmt: skip
        failed = []
        for version in _versions(own, place, package, release):
            why = _refused(["apt-get", *own, "source", "--download-only", "--only-source", "--tar-only",
                            f"{package}={version}"], place)  # fmt: skip
            found = sorted(place.glob(f"{package}_*.orig.tar.*"))
            if why is None and found:
                return Path(shutil.move(found[-1], folder / found[-1].name))
            failed.append(f"{version} ({why or 'no orig.tar in it'})")
    raise EnvironmentLacks(
        f"the source of {package} cannot be fetched, although apt knows it: {'; '.join(failed)}",
        help=f"Name another --release, or take PHP's own archive of a newer {package.removeprefix('php')} release "
        "(php-….tar.xz) to this machine and give that file to `triage known build`.",
    )


def _versions(own: list[str], place: Path, package: str, release: str) -> list[str]:
    """The versions whose source apt knows, those with the most fixes first."""
    # One list that is not there must not hide the others: what it says counts only when nothing was found.
    said = _refused(["apt-get", *own, "update"], place)
    listed = _ran(["apt-cache", *own, "madison", package], place).stdout.decode("utf-8", "replace")
    rows = [[part.strip() for part in line.split("|")] for line in listed.splitlines()]
    found = {row[1]: None for row in rows if len(row) == 3 and row[0] == package and row[2].endswith("Sources")}
    if not found:
        raise EnvironmentLacks(
            f"apt finds no source of {package} in {release}{f': {said}' if said else ''}",
            help="Name another --release, or give a .tar.xz of PHP's source to `triage known build`.",
        )
    return sorted(found, key=_fixes, reverse=True)


def _fixes(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))


def _refused(argv: list[str], place: Path) -> str | None:
    """Runs apt; the reason it gives when it fails, in a line."""
    done = _ran(argv, place)
    if not done.returncode:
        return None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = [line for line in lines if line.startswith("E:")][:1] or lines[-1:]
    return " ".join("".join(said).removeprefix("E: ").split())


def _ran(argv: list[str], place: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, cwd=place, capture_output=True, timeout=_SECONDS, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentLacks(f"{argv[0]} cannot be run: {error}",
                               help="Give a folder or a .tar.xz of PHP's source.") from error  # fmt: skip


def _lists(release: str) -> list[str]:
    """What to look in: the release, what it got since, and the newest there is."""
    mirror, security = _mirror("debian", _MIRROR), _mirror("debian-security", _SECURITY)
    suites = [(mirror, release), (mirror, "sid")]
    if release not in ("sid", "unstable", "experimental"):
        suites += [(mirror, f"{release}-updates"), (security, f"{release}-security")]
    return [f"deb-src {url} {suite} main" for url, suite in dict.fromkeys(suites)]


def _mirror(archive: str, usual: str) -> str:
    """The mirror this machine uses for that archive of Debian, else Debian's own."""
    address = re.compile(rf"^(?:URIs:|deb)\s+(?:\[[^]]*\]\s+)?(https?://\S+/{archive}/?)(?:\s|$)", re.M)
    for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        try:
            found = address.search(path.read_text("utf-8", "replace"))
        except OSError:
            continue
        if found:
            return found[1]
    return usual
