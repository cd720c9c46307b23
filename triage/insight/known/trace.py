"""The part of a crash that is the bug's own: native frames and built-in functions, without the application's.

A regression test and a production request run different scripts round the same faulty code, so what is compared
leaves out every frame that the application brings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from triage.cluster.normalize import function_name, module_name, words
from triage.insight.known.landmarks import landmarks
from triage.model import Crash, KnownBug

_DEEP = 14
_KEPT = 60
_CLEAR = 0.75
_EVERYWHERE = 3
"""A frame that so many bugs share is how PHP was started or ended, and tells of none of them."""
_CYCLE = 4
_FADING = 0.75
"""The further out a frame, the less it tells of the fault and the more of who happened to call."""
_LEAST_WEIGHT = 2.0
_USUAL = 20
"""In a base of fewer bugs how rare a frame is cannot be told: it is weighed as in one of this size."""
_ENTRY = frozenset({"main", "execute_ex", "zend_execute", "zend_execute_scripts", "php_execute_script",
                    "zend_execute_script", "php_request_shutdown", "_start", "zend_call_function"})  # fmt: skip
_INTERPRETER = re.compile(r"(?:lib)?php(?:-fpm|-cgi)?[\d.]*(?:\.so)?")
_APART = "\x1f"
_APPLICATION = "|"
_NATIVE = f"native{_APART}"
_ENDLESS, _RECURRING = 8, 3


@dataclass(frozen=True, slots=True)
class Match:
    """A bug on file whose crash looks like this one. `likeness` from 0 to 1; `shared` the frames both have."""

    bug: KnownBug
    likeness: float
    shared: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all that tells something is equal. One frame alone is too little to say so."""
        return self.likeness >= 0.999 and len(self.shared) > 1


def stack(crash: Crash) -> tuple[str, ...]:
    """What is kept of a crash: the signal, then each frame as it was named; a frame of the application as a mark.

    Names are kept as they came, so that a newer triage brings them to its own form; static functions have a
    landmark instead of a name where the crashed build's file is at hand.
    """
    thread = crash.crashed_thread
    builds = {module.path: module.build_id for module in crash.modules}
    known = landmarks(crash)
    kept = [crash.signal.name if crash.signal is not None else "no signal"]
    for frame in (thread.frames if thread is not None else ())[:_KEPT]:
        if frame.kind == "gap" or frame.function is None:
            continue
        if frame.kind != "native" and (frame.file is not None or frame.function.startswith("{")):
            kept.append(_APPLICATION)
            continue
        mark = known.get((frame.module or "", frame.function))
        function = f"~{mark}" if mark is not None else frame.function
        build = "" if mark is not None else (builds.get(frame.module or "") or "")[:12]
        kept.append(_APART.join((frame.kind, frame.module or "", frame.class_name or "", function, build)))
    return tuple(kept)


def tokens(kept: Sequence[str], builds: frozenset[str] | None = None) -> tuple[str, ...]:
    """The frames that tell something, in one form: `module!function` and `php:built-in`, innermost first.

    They end where the application's code begins: what is beyond called the faulty code, and differs everywhere.
    Functions with neither name nor landmark (`sub_…`) are places in one build: they count only for `builds`,
    where that is given.
    """
    found: list[str] = []
    lines = [(line, _token(line, builds)) for line in kept[1:]]
    cycle = _cycle([token for _, token in lines if token is not None])
    for line, token in lines:
        if line == _APPLICATION and found:
            break
        if token is not None and token not in found and (not cycle or token in cycle):
            found.append(token)
        # Below a built-in function lies how the engine calls such functions, the JIT's way or its own.
        script = line != _APPLICATION and not line.startswith(_NATIVE)
        if len(found) >= _DEEP or (script and len(found) > 1):
            break
    return tuple(found)


def _cycle(found: Sequence[str]) -> frozenset[str]:
    """The functions of an endless recursion, without the leaf where the stack happened to run out; else empty."""
    often = Counter(found)
    if max(often.values(), default=0) < _ENDLESS:
        return frozenset()
    return frozenset(token for token, count in often.items() if count >= _RECURRING)


def _token(line: str, builds: frozenset[str] | None) -> str | None:
    """One kept frame in one form, `None` when it tells nothing."""
    if line == _APPLICATION:
        return None
    kind, module, class_name, function, build = (*line.split(_APART), "", "", "", "")[:5]
    if kind != "native":
        return f"{kind}:{class_name}::{function}" if class_name else f"{kind}:{function}"
    return _native(module, function, build, builds) if module else None


def builds_of(kept: Sequence[str]) -> frozenset[str]:
    """The builds a stack has frames of."""
    return frozenset(line.rsplit(_APART, 1)[-1] for line in kept[1:]) - {""}


def _native(path: str, function: str, build: str, builds: frozenset[str] | None) -> str | None:
    name, module = function_name(function), module_name(path or "?")
    # The same code is linked into each of PHP's programs.
    plain = "php" if _INTERPRETER.fullmatch(module) else module
    if name in _ENTRY or name in words("machinery.txt") or f"{module}!{name}" in words("machinery.txt"):
        return None
    if name in words("abort.txt"):
        return None
    if name.startswith("sub_"):
        return f"{plain}!{name}@{build}" if build and (builds is None or build in builds) else None
    return f"{plain}!{name}"


class Base:
    """The bugs on file, ready to compare with. A frame that many bugs share says little."""

    def __init__(self, bugs: Sequence[KnownBug]) -> None:
        self._bugs = list(bugs)
        of_token: dict[str, set[str]] = {}
        for bug in bugs:
            for token in tokens(bug.frames):
                of_token.setdefault(token, set()).add(bug.bug)
        self._often = Counter({token: len(names) for token, names in of_token.items()})
        self._count = len({bug.bug for bug in bugs})

    def matches(self, found: Sequence[str]) -> list[Match]:
        """The bugs whose crash is like this one (as `stack` gives it), the likest first."""
        ranked = [match for match in (self._compare(bug, found) for bug in self._bugs) if match is not None]
        best: dict[str, Match] = {}
        for match in sorted(ranked, key=lambda one: (-one.likeness, -len(one.shared), one.bug.bug)):
            best.setdefault(match.bug.bug, match)
        return list(best.values())

    def _compare(self, bug: KnownBug, found: Sequence[str]) -> Match | None:
        """None unless the signal, the innermost frame that has a name, and most of what tells something agree."""
        builds = builds_of(bug.frames) & builds_of(found)
        mine, theirs = tokens(found, builds), tokens(bug.frames, builds)
        if not mine or not theirs or found[0] != bug.frames[0] or not _begin_alike(mine, theirs):
            return None
        shared = _common(mine, theirs)
        built_in = {token for token in theirs if "!" not in token}
        if (built_in and not built_in & set(shared)) or all(self._often[token] > _EVERYWHERE for token in shared):
            return None
        weight, likeness = sum(self._weight(token) for token in shared), 1.0
        for side in (mine, theirs):
            worth = {token: self._weight(token) * _FADING**depth for depth, token in enumerate(side)}
            likeness = min(likeness, sum(worth[token] for token in shared) / sum(worth.values()))
        if likeness < _CLEAR or weight < _LEAST_WEIGHT:
            return None
        return Match(bug, likeness, tuple(shared))

    def _weight(self, token: str) -> float:
        return log(1 + (max(self._count, _USUAL) + 1) / (1 + self._often[token]))


def _begin_alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the innermost frames agree; in a recursion it is chance which of its functions was the last."""
    return one[0] == other[0] or (one[0] in other[:_CYCLE] and other[0] in one[:_CYCLE])


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
