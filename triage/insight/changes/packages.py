"""Debian's record of package changes, and which packages a crashed process had files of."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from triage import clock, lists
from triage.model import Change

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (upgrade|install|remove|purge) (\S+?)(?::\S+)? (\S+) (\S+)$")
_TOGETHER = 300.0
_PHP = re.compile(r"(?:lib(?:apache2-mod|embed)-)?php(\d+\.\d+)?(?:-(\S+))?")
_PROGRAMS = frozenset({"cli", "fpm", "cgi", "common", "opcache", "phpdbg", "dev", "embed"})
_SECONDS = 30
_MOST = 64 * 1024 * 1024


def package_changes(host: str, log: Path = Path("/var/log")) -> list[Change]:
    """Runs of dpkg, each with all its packages, the oldest first; empty where there is no dpkg.log."""
    rows = sorted(_rows(log))
    runs: list[list[tuple[float, str, str | None, str | None]]] = []
    for row in rows:
        if runs and row[0] - runs[-1][-1][0] <= _TOGETHER:
            runs[-1].append(row)
        else:
            runs.append([row])
    return [_change(run, host) for run in runs]


def _rows(log: Path) -> Iterator[tuple[float, str, str | None, str | None]]:
    for path in sorted(log.glob("dpkg.log*")):
        try:
            with path.open("rb") as raw:
                text = _unpacked(raw, path).read(_MOST).decode("utf-8", "replace")
        except (OSError, EOFError):
            continue  # rotated away or cut off; the others still tell
        for line in text.splitlines():
            found = _LINE.match(line)
            time = None if found is None else clock.written(found[1], "%Y-%m-%d %H:%M:%S")
            if found is not None and time is not None:
                yield time.timestamp(), found[3], _version(found[4]), _version(found[5])


def _unpacked(raw: BinaryIO, path: Path) -> gzip.GzipFile | BinaryIO:
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def _version(text: str) -> str | None:
    return None if text == "<none>" else text


def _change(run: list[tuple[float, str, str | None, str | None]], host: str) -> Change:
    packages: dict[str, tuple[str | None, str | None]] = {}
    for _, name, old, new in run:
        packages[name] = (packages[name][0] if name in packages else old, new)
    return Change(
        time=run[-1][0], kind=_kind(packages), what=words(packages), source="dpkg.log", host=host, packages=packages
    )


def words(packages: Mapping[str, tuple[str | None, str | None]]) -> str:
    """`php8.2-cli, php8.2-common 8.2.35 → 8.2.36`, packages of one step together, five at most."""
    steps: dict[tuple[str | None, str | None], list[str]] = {}
    for name, step in packages.items():
        steps.setdefault(step, []).append(name)
    parts = []
    for (old, new), names in sorted(steps.items(), key=lambda step: min(map(_order, step[1]))):
        shown = ", ".join(sorted(names, key=_order)[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        how = f"{old} → {new}" if old and new else f"{new} installed" if new else f"{old} removed"
        parts.append(f"{shown} {how}")
    return "; ".join(parts[:5]) + (f"; {len(parts) - 5} more" if len(parts) > 5 else "")


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith("php"), name


def _kind(packages: Iterable[str]) -> str:
    kinds = {kind_of(name) for name in packages}
    return next((kind for kind in ("php", "extension", "kernel", "library") if kind in kinds), "other")


def kind_of(package: str) -> str:
    """`php`, `extension`, `kernel` or `library`: what a package means to a PHP process."""
    found = _PHP.fullmatch(package)
    if found:
        part = found[2]
        own = part is None or part in _PROGRAMS or (found[1] is not None and lists.is_bundled(part))
        return "php" if own else "extension"
    return "kernel" if package.startswith("linux-image") else "library"


def narrowed(change: Change, mapped: frozenset[str]) -> Change | None:
    """The change with only packages the crashed process had files of; `None` when it had none of them.

    A kernel stays: it is under every process. Without a known package nothing can be ruled out.
    """
    if not change.packages or not mapped:
        return change
    kept = {name: step for name, step in change.packages.items() if name in mapped or kind_of(name) == "kernel"}
    if not kept:
        return None
    return Change(
        time=change.time, kind=_kind(kept), what=words(kept), source=change.source, host=change.host, packages=kept,
        paths=change.paths, options=change.options,
    )  # fmt: skip


def owners(paths: Iterable[str]) -> dict[str, str]:
    """The Debian package of each file; files that none owns, and machines without dpkg, give nothing."""
    wanted = [path for path in paths if path.startswith("/")]
    # Since /lib became a link, dpkg may know a file under its old name only.
    asked = {form for path in wanted for form in (path, path.removeprefix("/usr"), f"/usr{path}")}
    if not wanted:
        return {}
    try:
        done = subprocess.run(
            ["dpkg-query", "-S", "--", *sorted(asked)], capture_output=True, timeout=_SECONDS, check=False,
            env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    known: dict[str, str] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        names, separator, path = line.partition(": ")
        if separator and not names.startswith("diversion"):
            known[path] = names.split(",")[0].split(":")[0]
    found = {}
    for path in wanted:
        owner = known.get(path) or known.get(path.removeprefix("/usr")) or known.get(f"/usr{path}")
        if owner:
            found[path] = owner
    return found
