"""The part of a crash that is the bug's own: native frames and built-in functions, without the application's.

A regression test and a production request run different scripts round the same faulty code, so what is compared
leaves out every frame that the application brings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from triage.cluster.normalize import function_name, module_name, words
from triage.model import Crash, Frame, KnownBug

_DEEP = 14
_CLEAR = 0.8
_LEAST_WEIGHT = 2.0
_ENTRY = frozenset({"main", "execute_ex", "zend_execute", "zend_execute_scripts", "php_execute_script",
                    "zend_execute_script", "php_request_shutdown", "_start", "zend_call_function"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """A bug on file whose crash looks like this one. `likeness` from 0 to 1; `shared` the frames both have."""

    bug: KnownBug
    likeness: float
    shared: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all that tells something is equal."""
        return self.likeness >= 0.999


def trace(crash: Crash) -> tuple[str, ...]:
    """`signal` first, then `module!function` and `php:built-in` innermost first; application code is left out."""
    thread = crash.crashed_thread
    builds = {module.path: module.build_id for module in crash.modules}
    signal = crash.signal.name if crash.signal is not None else "no signal"
    kept: list[str] = [signal]
    for frame in thread.frames if thread is not None else ():
        token = _token(frame, builds)
        if token is not None and kept[-1] != token:
            kept.append(token)
        if len(kept) > _DEEP:
            break
    return tuple(kept)


def _token(frame: Frame, builds: dict[str, str | None]) -> str | None:
    if frame.kind == "gap" or frame.function is None:
        return None
    if frame.kind != "native":
        built_in = frame.file is None and not frame.function.startswith("{")
        own = f"{frame.class_name}::{frame.function}" if frame.class_name else frame.function
        return f"{frame.kind}:{own}" if built_in else None
    name, module = function_name(frame.function), module_name(frame.module or "?")
    if name in _ENTRY or name in words("machinery.txt") or f"{module}!{name}" in words("machinery.txt"):
        return None
    if name in words("abort.txt"):
        return None
    if name.startswith("sub_"):
        build = builds.get(frame.module or "")
        return f"{module}!{name}@{build[:12]}" if build else None
    return f"{module}!{name}"


class Base:
    """The bugs on file, ready to compare with. A frame that many bugs share says little."""

    def __init__(self, bugs: Sequence[KnownBug]) -> None:
        self._bugs = list(bugs)
        of_token: dict[str, set[str]] = {}
        for bug in bugs:
            for token in bug.frames[1:]:
                of_token.setdefault(token, set()).add(bug.bug)
        self._often = Counter({token: len(names) for token, names in of_token.items()})
        self._count = len({bug.bug for bug in bugs})

    def matches(self, found: Sequence[str]) -> list[Match]:
        """The bugs whose crash is like this one, the likest first."""
        ranked = [match for match in (self._compare(bug, found) for bug in self._bugs) if match is not None]
        best: dict[str, Match] = {}
        for match in sorted(ranked, key=lambda one: (-one.likeness, -len(one.shared), one.bug.bug)):
            best.setdefault(match.bug.bug, match)
        return list(best.values())

    def _compare(self, bug: KnownBug, found: Sequence[str]) -> Match | None:
        """None unless the signal, the innermost frame that has a name, and most of what tells something agree."""
        mine, theirs = list(found[1:]), list(bug.frames[1:])
        if not mine or not theirs or found[0] != bug.frames[0] or mine[0] != theirs[0]:
            return None
        shared = _common(mine, theirs)
        weight = sum(self._weight(token) for token in shared)
        whole = sum(self._weight(token) for token in theirs)
        # What the application adds below (a callback's caller) is no difference; what the bug's trace lacks is.
        likeness = weight / whole if whole else 0.0
        if likeness < _CLEAR or weight < _LEAST_WEIGHT:
            return None
        return Match(bug, likeness, tuple(shared))

    def _weight(self, token: str) -> float:
        return log(1 + (self._count + 1) / (1 + self._often[token])) if self._count else 1.0


def _common(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The longest common subsequence."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for a in range(len(one) - 1, -1, -1):
        for b in range(len(other) - 1, -1, -1):
            rows[a][b] = rows[a + 1][b + 1] + 1 if one[a] == other[b] else max(rows[a + 1][b], rows[a][b + 1])
    found, a, b = [], 0, 0
    while a < len(one) and b < len(other):
        if one[a] == other[b]:
            found.append(one[a])
            a, b = a + 1, b + 1
        elif rows[a + 1][b] >= rows[a][b + 1]:
            a += 1
        else:
            b += 1
    return found
