"""What many crashes tell together (`triage why`), as lines for the tabs of a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from triage.explain import Part, Statement
from triage.model import Confidence
from triage.report.explain_text import part_lines
from triage.report.lines import Line
from triage.text import clean

CHANGED, KNOWN, FAILED = "What changed", "Is it known", "Not worked out"
_SETTLED = 0.3  # seconds a cluster is looked at before it is investigated: who pages through many asks for none
_TICK = 0.05
_PATIENCE = 300.0


def insight(store: str, cluster: str, given_up: Callable[[], bool]) -> tuple[Part, ...]:
    """What goes with a cluster, what changed, whether it is known, and how to prove it.

    Takes seconds, all of them in a process of its own: within this one it would hold up the keys. When `given_up`,
    the process is ended.
    """
    if _waited(_SETTLED, given_up):
        return ()
    argv = [sys.executable, "-m", "triage", "why", cluster, "--json"]
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="backslashreplace", start_new_session=True, env=os.environ | {"TRIAGE_STORE": store},
    ) as process:  # fmt: skip
        said, complaint = _answer(process, given_up)
    if process.returncode:
        return () if given_up() else (_failed(complaint),)
    return tuple(_part(part) for part in json.loads(said)["parts"])


def _answer(process: subprocess.Popen[str], given_up: Callable[[], bool]) -> tuple[str, str]:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return process.communicate(timeout=_TICK)
        except subprocess.TimeoutExpired:
            if given_up() or time.monotonic() > until:
                process.kill()


def _waited(seconds: float, given_up: Callable[[], bool]) -> bool:
    """Wait; says whether it was given up meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if given_up():
            return True
        time.sleep(_TICK)
    return given_up()


def _failed(complaint: str) -> Part:
    text = clean(complaint.strip()) or "it gave no answer in time"
    return Part(FAILED, (Statement(f"`triage why` failed: {text}", ("what it wrote on stderr",)),))


def _part(found: Mapping[str, Any]) -> Part:
    return Part(found["head"], tuple(_statement(one) for one in found["statements"]))


def _statement(found: Mapping[str, Any]) -> Statement:
    sure = found.get("confidence")
    given = {name: _tuples(value) for name, value in found.items()}
    return Statement(**given | {"confidence": Confidence(sure) if sure is not None else None})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def insight_lines(found: tuple[Part, ...] | None, *heads: str, evidence: bool) -> Iterator[Line]:
    """The parts with these heads; without heads, those that have no place of their own."""
    if found is None:
        yield Line("  being worked out …", "dim")
        return
    for part in found:
        if (part.head in heads) if heads else (part.head not in (CHANGED, KNOWN)):
            yield from part_lines((part,), evidence=evidence)
