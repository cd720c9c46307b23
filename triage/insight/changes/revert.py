"""How to take a change back: only what can really be done, and what it costs."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from triage.model import Change

_SECONDS = 60
_CVE = re.compile(r"CVE-\d{4}-\d+")
_ENTRY = re.compile(r"^(\S+) \(([^)]+)\) \S+", re.M)
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
_ARCHIVES = Path("/var/cache/apt/archives")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revert:
    """Commands that take a change back, as root. `note` says what was checked or why there are none.

    `checked` tells that apt itself simulated them; `loses` are security fixes that go with it.
    """

    commands: tuple[str, ...]
    note: str
    checked: bool = False
    loses: tuple[str, ...] = ()


def revert(change: Change) -> Revert:
    """The way back from a change on this machine."""
    if change.packages:
        return _packages(change.packages)
    if change.options:
        return _options(change)
    if change.kind in ("deploy", "composer") and change.paths:
        project = change.paths[0].removesuffix("/composer.lock")
        back = "git -C {0} log -g -5 --format='%h %gd %gs'   # which commit was there before"
        return Revert(commands=(back.format(project),), note="Then deploy that commit again, the way you always do.")
    if change.paths:
        shown = " ".join(change.paths[:3])
        return Revert(commands=(), note=f"What was changed in {shown} only your backup or your configuration "
                      "management knows: compare with it.")  # fmt: skip
    if change.kind in ("deploy", "composer"):
        return Revert(commands=(), note="Deploy the release before it again, the way you always do.")
    return Revert(commands=(), note="Nothing on this machine tells how to take this back.")


def _options(change: Change) -> Revert:
    lines = [f"{name} = {before}" if before is not None else f"{name} (take the line out)"
             for name, (before, _) in change.options.items()]  # fmt: skip
    return Revert(commands=(), note="Set back, in the pool's or PHP's ini file: " + "; ".join(lines[:6]))


def _packages(packages: Mapping[str, tuple[str | None, str | None]]) -> Revert:
    back = {name: old for name, (old, new) in packages.items() if old and new}
    added = [name for name, (old, new) in packages.items() if not old and new]
    if not back:
        return _remove(added)
    wanted = _whole_source(back)
    have, gone = _available(wanted)
    if gone:
        return _other(wanted, gone, have)
    return _simulated([f"{name}={version}" for name, version in sorted(wanted.items())], wanted, "")


def _remove(added: list[str]) -> Revert:
    if not added:
        return Revert(commands=(), note="It removed packages: install them again if they are missed.")
    argv = ["apt-get", "remove", *added]
    fine = _apt([*argv, "-s"]) is not None
    return Revert(commands=(" ".join(argv),), note="apt says that this can be done (-s)." if fine else
                  "apt -s refuses this as it stands.", checked=fine)  # fmt: skip


def _other(wanted: Mapping[str, str], gone: list[str], have: Mapping[str, list[str]]) -> Revert:
    """The version that was there before is no longer in the archive."""
    said = f"{wanted[gone[0]]} can no longer be had from your archives"
    kept = {name: _cached(name, version) for name, version in wanted.items()}
    if all(kept.values()):
        files = " ".join(str(path) for _, path in sorted(kept.items()))
        return Revert(commands=(f"apt-get install --allow-downgrades {files}",),
                      note=f"{said}, but it is still in apt's cache.", loses=tuple(_lost(wanted)))  # fmt: skip
    installed = _installed(gone[0])
    older = [version for version in have.get(gone[0], ()) if _is_older(version, installed)]
    if not older:
        return Revert(commands=(), note=f"{said}, and no other older version is there: take it from a backup or from "
                      "snapshot.debian.org.")  # fmt: skip
    pins = [f"{name}={older[-1]}" for name in sorted(wanted)]
    return _simulated(pins, dict.fromkeys(wanted, older[-1]), f"{said}; the nearest that can is {older[-1]}. ")


def _cached(name: str, version: str) -> Path | None:
    """The package's file in apt's cache."""
    pattern = f"{name}_{version.replace(':', '%3a')}_*.deb"
    return next(iter(sorted(_ARCHIVES.glob(pattern))), None) if _ARCHIVES.is_dir() else None


def _is_older(one: str, other: str) -> bool:
    return _apt(["dpkg", "--compare-versions", one, "lt", other]) is not None


def _simulated(pins: list[str], wanted: Mapping[str, str], before: str) -> Revert:
    argv = ["apt-get", "install", "--allow-downgrades", *pins]
    fine = _apt([*argv, "-s"]) is not None
    note = "apt says that this can be done (-s)." if fine else "apt -s refuses this as it stands: see what it says."
    return Revert(commands=(" ".join(argv),), note=before + note, checked=fine, loses=tuple(_lost(wanted)))


def _whole_source(back: Mapping[str, str]) -> dict[str, str]:
    """All installed packages of the same source at the same version: they must go back together."""
    rows = _lines(["dpkg-query", "-W", "-f", "${Package}\t${source:Package}\t${Version}\t${db:Status-Abbrev}\n"])
    table = [row.split("\t") for row in rows]
    sources = {row[0]: (row[1], row[2]) for row in table if len(row) == 4 and row[3].startswith("ii")}
    found = dict(back)
    for name, old in back.items():
        for other, source in sources.items():
            if name in sources and source == sources[name]:
                found.setdefault(other, old)
    return {name: version for name, version in found.items() if name in sources or not sources}


def _available(wanted: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """`(versions of each package, oldest first; packages whose wanted version is gone)`."""
    have: dict[str, list[str]] = {}
    for line in _lines(["apt-cache", "madison", *wanted]):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) >= 3 and "Sources" not in parts[2] and parts[1] not in have.setdefault(parts[0], []):
            have[parts[0]].insert(0, parts[1])
    return have, [name for name, version in wanted.items() if version not in have.get(name, ())]


def _installed(package: str) -> str:
    return "".join(_lines(["dpkg-query", "-W", "-f", "${Version}", package]))


def _lost(wanted: Mapping[str, str]) -> Iterator[str]:
    """CVE numbers in the changelogs on this machine that are newer than the version to go back to."""
    seen: set[str] = set()
    for name, version in sorted(wanted.items()):
        for text in _changelogs(Path("/usr/share/doc") / name):
            for cve in fixes_after(text, version):
                if cve not in seen:
                    seen.add(cve)
                    yield cve


def fixes_after(changelog: str, version: str) -> list[str]:
    """The CVE numbers in the entries of a Debian changelog or of PHP's own above that of `version`."""
    upstream = re.sub(r"^\d+:|[-~+].*$", "", version)
    cut = re.search(
        rf"^(?:\S+ \({re.escape(version)}\)|\d\d \w{{3}} \d{{4}}, PHP {re.escape(upstream)}$)", changelog, re.M
    )
    if cut is None:
        return []
    return list(dict.fromkeys(_CVE.findall(changelog[: cut.start()])))


def _changelogs(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("changelog*.gz")):
        try:
            with gzip.open(path, "rt", errors="replace") as file:
                yield file.read(16 * 1024 * 1024)
        except (OSError, EOFError):
            continue  # documentation may be stripped from an image


def _apt(argv: Iterable[str]) -> str | None:
    """What apt said, `None` when it refused."""
    try:
        done = subprocess.run([*argv], capture_output=True, timeout=_SECONDS, check=False, env=_ENVIRONMENT,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _lines(argv: list[str]) -> list[str]:
    return (_apt(argv) or "").splitlines()
