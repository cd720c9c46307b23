"""What each kind of change is worth before the times are looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources


@cache
def _file() -> dict[str, object]:
    found: dict[str, object] = json.loads(
        resources.files("triage.insight").joinpath("lists", "kinds.json").read_text("utf-8")
    )
    return found


@cache
def weights() -> Mapping[str, float]:
    """How much more likely each kind of change starts crashes than others."""
    found = _file()["weights"]
    return found if isinstance(found, dict) else {}


@cache
def start_kinds() -> frozenset[str]:
    """The kinds that count only for processes started after them."""
    found = _file()["at_start"]
    return frozenset(found if isinstance(found, list) else ())
