"""PHP's changelog: which fixes a version has, and which of them may be about a crash.

A line that names what crashed is rare, so this never says more than "possibly fixed" (measured on 24 real bugs:
the right line was among the first five for half of them).
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

_VERSION = re.compile(
    r"^\d\d \w{3} \d{4}, PHP (\d+\.\d+\.\d+)\w*\s*$|^\?\? \?\?\? \?\?\?\?, PHP (\d+\.\d+\.\d+)\w*", re.M
)
_MODULE = re.compile(r"^- ([\w ./+-]{1,40}):\s*$")
_ENTRY = re.compile(r"^  [.] ")
_BUG = re.compile(r"GH-\d+|#\d{4,6}\b|CVE-\d{4}-\d+")
_WORD = re.compile(r"[A-Za-z_]\w*(?:::\w+)?")
_CRASH = re.compile(
    r"segfault|segmentation|crash|use[- ]after[- ]free|uaf\b|heap|overflow|double[- ]free|null (?:pointer|deref)|"
    r"memory (?:corruption|leak)|out[- ]of[- ]bounds|uninitiali[sz]ed|assert|dangling|invalid (?:read|write|free)|"
    r"stack (?:smash|corruption)|corrupt|freed|undefined behaviou?r|sigsegv|sigbus|type confusion", re.I
)  # fmt: skip
_COMMON = frozenset(
    "fixed fix bug the and for with from when after into php null use free heap buffer overflow memory segfault "
    "crash in of on to is a an by not as at if or it be that this function functions method methods class object "
    "array string return value values using via".split()
)
_DOC = Path("/usr/share/doc")
_MOST = 16 * 1024 * 1024
_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the changelog. `bugs` are its numbers, `text` without line breaks."""

    version: str
    module: str
    text: str
    bugs: tuple[str, ...]

    @property
    def is_crash(self) -> bool:
        """Whether its words are those of a crash."""
        return _CRASH.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Possible:
    """An entry that may be about a crash, with the words both have."""

    entry: Entry
    score: float
    words: tuple[str, ...]


def entries(text: str) -> list[Entry]:
    """All entries of a NEWS file, in its order."""
    found: list[Entry] = []
    version, module, lines = "", "", [""]
    for line in (*text.splitlines(), "- end:"):
        heading, section = _VERSION.match(line), _MODULE.match(line)
        if heading or section or _ENTRY.match(line):
            body = " ".join(" ".join(lines).split())
            if version and body:
                found.append(Entry(version, module, body, tuple(dict.fromkeys(_BUG.findall(body)))))
            lines = [line[4:] if not (heading or section) else ""]
        elif lines:
            lines.append(line.strip())
        if heading:
            version, module = heading[1] or heading[2], ""
        elif section:
            module = section[1]
    return found


def number(version: str) -> tuple[int, ...]:
    """A version to compare by."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def installed(version: str) -> str | None:
    """The changelog of the PHP of this branch on this machine, `None` where its package brings none."""
    branch = ".".join(version.split(".")[:2])
    for folder in (_DOC / f"php{branch}-common", _DOC / "php-common"):
        try:
            with gzip.open(folder / "changelog.gz", "rt", errors="replace") as file:
                text = file.read(_MOST)
        except (OSError, EOFError):
            continue  # documentation may be stripped from an image
        if _VERSION.search(text):
            return text
    return None


def candidate(package: str, folder: Path) -> tuple[str, str] | None:
    """`(version, changelog)` out of the package apt would install now; `None` when it cannot be had.

    The package is downloaded into `folder` and opened, not installed.
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package) is None:
        return None
    try:
        done = subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True, timeout=_SECONDS,
                              check=False, stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    archive = next(iter(sorted(folder.glob(f"{package}_*.deb"))), None)
    if done.returncode or archive is None:
        return None
    text = changelog_in(archive)
    return (archive.name.split("_")[1], text) if text is not None else None


def changelog_in(archive: Path) -> str | None:
    """The upstream changelog inside a Debian package file."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101 — asked for above
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as packed:
                for member in packed:
                    if re.fullmatch(r"\./usr/share/doc/[^/]+/changelog\.gz", member.name) and member.size < _MOST:
                        file = packed.extractfile(member)
                        data = file.read() if file is not None else b""
                        return gzip.decompress(data).decode("utf-8", "replace")
        except (tarfile.TarError, OSError, EOFError):
            return None  # no package, or a damaged one
        finally:
            process.kill()
    return None


class Index:
    """Entries by their words, rare words counting more (as in Robertson's BM25, without lengths)."""

    def __init__(self, found: Sequence[Entry]) -> None:
        self._entries = [entry for entry in found if entry.is_crash]
        self._words = [frozenset(words(entry.text)) for entry in self._entries]
        self._often = Counter(word for own in self._words for word in own)

    def search(
        self, asked: Iterable[str], modules: Iterable[str], after: tuple[int, ...], most: int = 5
    ) -> list[Possible]:
        """Entries of versions newer than `after` that share rare words with what is asked, the best first."""
        wanted, near = frozenset(asked), frozenset(module.lower() for module in modules)
        found = []
        for entry, own in zip(self._entries, self._words, strict=True):
            shared = own & wanted
            if number(entry.version) <= after or not shared:
                continue
            score = sum(self._weight(word) for word in shared)
            score *= 1.3 if entry.module.lower() in near else 1.0
            found.append(Possible(entry, score, tuple(sorted(shared, key=lambda word: -self._weight(word)))))
        least = self._weight("") * 0.6
        return sorted((one for one in found if one.score >= least), key=lambda one: -one.score)[:most]

    def _weight(self, word: str) -> float:
        return log(1 + len(self._entries) / (1 + self._often[word]))

    def in_module(self, modules: Iterable[str], after: tuple[int, ...]) -> int:
        """How many crash fixes newer versions have in these modules."""
        near = {module.lower() for module in modules}
        return sum(1 for entry in self._entries if entry.module.lower() in near and number(entry.version) > after)


def words(text: str) -> Iterator[str]:
    """The words of a text that tell something: names whole and in their parts, lower case."""
    for found in _WORD.findall(text):
        for word in (found, *re.split(r"::|(?<=[a-z])(?=[A-Z])", found)):
            plain = word.lower().strip("_")
            if len(plain) > 3 and plain not in _COMMON:
                yield plain
