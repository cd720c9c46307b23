"""The smallest script that still crashes: whole lines first, then blocks in braces, then lines again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from triage.insight.narrow.ddmin import ddmin


def reduce(text: str, crashes: Callable[[str], bool]) -> str:
    """A script made of lines of `text` for which `crashes` holds; it is taken to hold for `text`."""
    lines = text.splitlines(keepends=True)
    head, rest = (lines[:1], lines[1:]) if lines and lines[0].startswith("<?php") else ([], lines)

    def tried(kept: Sequence[str]) -> bool:
        return crashes("".join([*head, *kept]))

    before = None
    while before != rest:
        before = rest
        rest = ddmin(rest, tried) if rest else rest
        rest = _blocks(rest, tried)
    return "".join([*head, *rest])


def _blocks(lines: Sequence[str], tried: Callable[[Sequence[str]], bool]) -> list[str]:
    """Without whole blocks, and without a block's own two lines: what `ddmin` over lines cannot take out."""
    kept, at = list(lines), 0
    while at < len(kept):
        end = _end(kept, at)
        if end is not None:
            whole = [*kept[:at], *kept[end + 1 :]]
            frame = [*kept[:at], *kept[at + 1 : end], *kept[end + 1 :]]
            shorter = next((rest for rest in (whole, frame) if tried(rest)), None)
            if shorter is not None:
                kept = shorter
                continue
        at += 1
    return kept


def _end(lines: Sequence[str], start: int) -> int | None:
    """The line on which the block that opens on line `start` closes."""
    depth = 0
    for at in range(start, len(lines)):
        depth += lines[at].count("{") - lines[at].count("}")
        if at == start and depth <= 0:
            return None
        if depth <= 0:
            return at
    return None
