"""What changed on this machine, from what it keeps anyway: logs, files' times, git. Reads only."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from triage import clock
from triage.insight.changes.packages import package_changes
from triage.model import Change, Snapshot
from triage.text import clean, number

_READY = re.compile(r"\[(\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d)\] NOTICE: (?:ready to handle|Reloading|using inherited)")
_SECONDS = 20
_MOST = 16 * 1024 * 1024
_PARENTS = 6
_ROUND = 600
"""Seconds: snapshots taken this close to each other saw one state of the machine."""


def scan(host: str, scripts: Iterable[str] = (), root: Path = Path("/")) -> list[Change]:
    """All changes this machine can tell of, the oldest first. `scripts` lead to the projects to look at."""
    found = [
        *package_changes(host, root / "var/log"), *_settings(host, root), *_restarts(host, root), *_boots(host, root)
    ]  # fmt: skip
    for project in projects(scripts):
        found += [*_composer(host, project), *_tags(host, project)]
    return sorted(found, key=lambda change: change.time)


def _settings(host: str, root: Path) -> Iterator[Change]:
    """When ini and pool files were last written. Files written in one second are one change."""
    times: dict[tuple[int, str], list[Path]] = {}
    for pattern, kind in (
        ("etc/php/*/*/php.ini", "ini"), ("etc/php/*/*/conf.d/*.ini", "ini"),
        ("etc/php/*/mods-available/*.ini", "ini"),
        ("usr/local/etc/php/**/*.ini", "ini"), ("etc/php/*/fpm/*.conf", "pool"),
        ("etc/php/*/fpm/pool.d/*.conf", "pool"),
    ):  # fmt: skip
        for path in root.glob(pattern):
            try:
                written = path.stat().st_mtime
            except OSError:
                continue  # a link to nowhere
            times.setdefault((int(written), kind), []).append(path)
    for (time, kind), paths in times.items():
        names = ", ".join(f"/{path.relative_to(root)}" for path in sorted(paths)[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        yield Change(
            time=float(time), kind=kind, what=f"{names}{more} written", source="the files' times", host=host,
            paths=tuple(f"/{path.relative_to(root)}" for path in sorted(paths)),
        )  # fmt: skip


def _restarts(host: str, root: Path) -> Iterator[Change]:
    """When php-fpm began or reloaded, by its own log."""
    for path in sorted((root / "var/log").glob("php*-fpm.log*")):
        if path.suffix == ".gz":
            continue
        try:
            with path.open(errors="replace") as file:
                text = file.read(_MOST)
        except OSError:
            continue  # not readable for this user
        for found in _READY.finditer(text):
            time = clock.written(found[1], "%d-%b-%Y %H:%M:%S")
            if time is None:
                continue
            yield Change(time=time.timestamp(), kind="restart", what=f"php-fpm started or reloaded ({path.name})",
                         source=f"/var/log/{path.name}", host=host)  # fmt: skip


def _boots(host: str, root: Path) -> Iterator[Change]:
    try:
        text = (root / "proc/stat").read_text()
    except OSError:
        return
    found = re.search(r"^btime (\d+)$", text, re.M)
    if found:
        yield Change(
            time=float(found[1]), kind="reboot", what="the machine was started", source="/proc/stat", host=host
        )


def projects(scripts: Iterable[str]) -> list[Path]:
    """The folders with a composer.lock or a git repository that these scripts lie in."""
    found: dict[Path, None] = {}
    for script in scripts:
        for folder in list(Path(script).parents)[:_PARENTS]:
            if (folder / "composer.lock").is_file() or (folder / ".git").exists():
                found[folder] = None
                break
    return list(found)


def _composer(host: str, project: Path) -> Iterator[Change]:
    lock = project / "composer.lock"
    try:
        time = lock.stat().st_mtime
    except OSError:
        return
    yield Change(time=time, kind="composer", what=f"{lock} written", source="the file's time", host=host,
                 paths=(str(lock),))  # fmt: skip


def _tags(host: str, project: Path) -> Iterator[Change]:
    """Tags of the project, and what was checked out when (the reflog of HEAD: when it came to this machine)."""
    if not (project / ".git").exists():
        return
    for line in _git(project, "log", "-g", "-n", "200", "--format=%gd%x09%h%x09%gs", "--date=unix", "HEAD"):
        at, commit, what = (*line.split("\t", 2), "", "")[:3]
        found = re.search(r"\{(\d+)\}", at)
        if found and commit:
            yield Change(time=float(found[1]), kind="deploy", what=f"{project}: {clean(what, limit=80)} ({commit})",
                         source="git reflog", host=host, paths=(str(project),))  # fmt: skip
    for line in _git(project, "for-each-ref", "--sort=-creatordate", "--count=100",
                     "--format=%(creatordate:unix)%09%(refname:short)", "refs/tags"):  # fmt: skip
        at, _, tag = line.partition("\t")
        time = clock.told(number(at))
        if time is not None:
            yield Change(time=time.timestamp(), kind="deploy", what=f"{project}: tag {clean(tag, limit=80)}",
                         source="git tag", host=host, paths=(str(project),))  # fmt: skip


def _git(project: Path, *arguments: str) -> Sequence[str]:
    """Lines of git's answer. Nothing the repository configures is run: no hooks, no pager, no file monitor."""
    argv = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", f"safe.directory={project}",
            "-C", str(project), "--no-pager", *arguments]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else ()


def between(snapshots: Sequence[Snapshot], among: frozenset[str | None] | None = None) -> list[Change]:
    """What the snapshots themselves saw change: settings, extensions and versions of one pool, from one to the next.

    The time is when the new state was first seen: the change lies between that and the last sight of the old one.
    Only pools `among` those named count, where that is given.
    """
    pools: dict[tuple[str, str | None], list[Snapshot]] = {}
    for snapshot in sorted(snapshots, key=lambda one: one.first_seen):
        if among is None or snapshot.pool in among:
            pools.setdefault((snapshot.host, snapshot.pool), []).append(snapshot)
    found: list[Change] = []
    for (host, pool), states in pools.items():
        for old, new in pairwise(states):
            if old.last_seen <= new.first_seen:
                found += _differences(old, new, host, pool)
    return _together(found)


def _together(changes: Sequence[Change]) -> list[Change]:
    """The same change of several pools in one round of snapshots as one."""
    groups: dict[tuple[str | None, int, str, str], list[Change]] = {}
    for change in changes:
        _, _, what = change.what.partition(": ")
        groups.setdefault((change.host, int(change.time // _ROUND), change.kind, what), []).append(change)
    return [_joined(group) for group in groups.values()]


def _joined(group: Sequence[Change]) -> Change:
    if len(group) == 1:
        return group[0]
    pools = sorted(change.pool or "" for change in group)
    return replace(group[0], what=f"pools {', '.join(pools)}: {group[0].what.partition(': ')[2]}", pool=None)


def _differences(old: Snapshot, new: Snapshot, host: str, pool: str | None) -> Iterator[Change]:
    time, where = new.first_seen.timestamp(), f"pool {pool}" if pool else "PHP"
    changed = {name: (old.options.get(name), new.options.get(name)) for name in {*old.options, *new.options}}
    options = {name: step for name, step in sorted(changed.items()) if step[0] != step[1]}
    if options:
        steps = [f"{name}: {_value(a)} → {_value(b)}" for name, (a, b) in list(options.items())[:4]]
        more = f" and {len(options) - 4} more" if len(options) > 4 else ""
        yield Change(time=time, kind="ini", what=f"{where}: {', '.join(steps)}{more}", source="triage baseline",
                     host=host, pool=pool, options=options)  # fmt: skip
    moved = {
        name: (old.extensions.get(name), new.extensions.get(name)) for name in {*old.extensions, *new.extensions}
    }
    extensions = {name: step for name, step in sorted(moved.items())
                  if step[0] != step[1] and (old.version, new.version) != step}  # fmt: skip
    for name, (before, after) in extensions.items():
        had, has = name in old.extensions, name in new.extensions
        how = "loaded" if not had else "no longer loaded" if not has else f"{before} → {after}"
        yield Change(time=time, kind="extension", what=f"{where}: extension {name} {how}", source="triage baseline",
                     host=host, pool=pool)  # fmt: skip
    if old.version != new.version:
        yield Change(time=time, kind="php", what=f"{where}: PHP {old.version} → {new.version}",
                     source="triage baseline", host=host, pool=pool)  # fmt: skip


def _value(text: str | None) -> str:
    return "default" if text is None else clean(text, limit=30) or "off"
