"""A cluster looked up in all that is on file: the user's notes, bugs that kill this PHP, changelogs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.config import data_folder
from triage.insight.known import news
from triage.insight.known.trace import Base, Match, stack
from triage.model import Cluster, Crash, KnownBug
from triage.store import Store

_LIKE = 0.8
_MOST = 16 * 1024 * 1024
_LIKELY_LEAD = 1.3
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Another cluster with a note whose crashes look alike."""

    cluster: Cluster
    likeness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was found. `on_file` is how many bugs there are to compare with, `stale` that they killed another PHP.

    `possible` are changelog lines, `likely` whether the first of them stands out; `fixes` counts the crash fixes
    that newer versions have in `modules`. `fixed_here` are versions of matched bugs that the installed changelog has.
    """

    note: str | None = None
    noted: tuple[Noted, ...] = ()
    matches: tuple[Match, ...] = ()
    on_file: int = 0
    stale: str | None = None
    possible: tuple[news.Possible, ...] = ()
    likely: bool = False
    fixes: int = 0
    modules: tuple[str, ...] = ()
    changelogs: tuple[str, ...] = ()
    fixed_here: tuple[str, ...] = ()


def look_up(store: Store, cluster: Cluster, own: Sequence[Crash]) -> Known:
    """Look a cluster's newest crash up."""
    if not own:
        return Known(note=cluster.note)
    crash, bugs = own[0], store.known_bugs()
    found = stack(crash)
    version = crash.runtime.version if crash.runtime is not None else None
    matches = Base(bugs).matches(found)[:_SHOWN] if version else []
    entries, names = _changelogs()
    modules = _modules(crash)
    after = news.number(version) if version else ()
    possible = news.Index(entries).search(_asked(crash), modules, after) if version and entries else []
    fixes = news.Index(entries).in_module(modules, after) if version else 0
    return Known(
        note=cluster.note, noted=tuple(_noted(store, cluster, found)), matches=tuple(matches), on_file=len(bugs),
        stale=_stale(bugs, version), possible=tuple(possible), likely=_stands_out(possible), fixes=fixes,
        modules=modules, changelogs=names, fixed_here=tuple(_fixed_here(matches, version)),
    )  # fmt: skip


def _stale(bugs: Sequence[KnownBug], version: str | None) -> str | None:
    """The PHP the bugs on file killed, where none of them killed this one."""
    killed = {bug.killed for bug in bugs}
    return None if not killed or version is None or version in killed else ", ".join(sorted(killed))


def _fixed_here(matches: Sequence[Match], version: str | None) -> list[str]:
    """Matched bugs that the changelog of the installed PHP names as fixed: then it is not that bug."""
    text = news.installed(version) if version and matches else None
    return [match.bug.bug for match in matches if text is not None and re.search(rf"{match.bug.bug}\b", text)]


def _noted(store: Store, cluster: Cluster, found: Sequence[str]) -> list[Noted]:
    """Other clusters that a person wrote a note on, whose newest crash has the same frames that tell something."""
    noted = []
    for other in store.clusters():
        if other.note and other.id != cluster.id and other.crashes:
            bug = _as_bug(other, stack(store.crash(other.crashes[0])))
            same = Base([bug]).matches(found)
            if same and same[0].likeness >= _LIKE:
                noted.append(Noted(cluster=other, likeness=same[0].likeness))
    return noted


def _as_bug(cluster: Cluster, frames: tuple[str, ...]) -> KnownBug:
    return KnownBug(bug=cluster.id, signature=cluster.signature, title=cluster.title, frames=frames, fixed=(),
                    entry=cluster.note, killed="", source="a note", script="")  # fmt: skip


def _changelogs() -> tuple[list[news.Entry], tuple[str, ...]]:
    """The entries of all changelogs kept by `triage known`, each once."""
    folder = data_folder() / "news"
    entries: dict[tuple[str, str], news.Entry] = {}
    names = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        text = _text(path)
        if text is not None:
            names.append(path.name)
            for entry in news.entries(text):
                entries.setdefault((entry.version, entry.text), entry)
    return list(entries.values()), tuple(names)


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return None  # another user's


def _asked(crash: Crash) -> list[str]:
    """The words of the inner part of a stack: native and built-in functions and classes."""
    thread = crash.crashed_thread
    asked: list[str] = []
    for frame in (thread.frames if thread is not None else ())[:16]:
        if frame.kind == "gap" or frame.function is None or (frame.kind != "native" and frame.file is not None):
            continue
        for text in (frame.function, frame.class_name or "", f"{frame.class_name}::{frame.function}"):
            if not text.startswith("sub_"):
                asked += news.words(text.removeprefix("zif_").removeprefix("zim_"))
    return asked


def _modules(crash: Crash) -> tuple[str, ...]:
    """The names a changelog has for the parts of PHP on the inner stack."""
    thread = crash.crashed_thread
    found: dict[str, None] = {}
    for frame in (thread.frames if thread is not None else ())[:8]:
        name = (frame.module or "").rsplit("/", 1)[-1]
        if name == "opcache.so" or frame.note == "jit":
            found["Opcache"] = None
        elif "/php/" in (frame.module or "") and name.endswith(".so"):
            found[name.removesuffix(".so")] = None
    return tuple(found) or ("Core",)


def _stands_out(possible: Sequence[news.Possible]) -> bool:
    if not possible:
        return False
    second = possible[1].score if len(possible) > 1 else 0.0
    return possible[0].score >= _LIKELY_LEAD * second and any(
        "_" in word or "::" in word for word in possible[0].words
    )
