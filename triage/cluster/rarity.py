"""How much a function tells: one that few bugs have on their stacks tells much.

The table is frozen and shipped: weights from the crashes at hand would move with each new crash, and
yesterday's scores with them.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources


@cache
def _table() -> tuple[int, dict[str, int]]:
    """`(bugs, in how many of them a function was)`."""
    record = json.loads(resources.files(__package__ or "").joinpath("frequency.json").read_text("utf-8"))
    return record["bugs"], record["functions"]


@cache
def rarity(name: str) -> float:
    """From 0 (on every stack) to 1 (never seen)."""
    bugs, functions = _table()
    return math.log((bugs + 1) / (functions.get(name, 0) + 1)) / math.log(bugs + 1)
