"""Candidates in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from triage.insight.correlate import Attribute, Candidate
from triage.text import clean

_ORDER = {"option": 0, "extension": 1, "php": 2, "library": 3}


def rule_text(one: Candidate) -> str:
    """`opcache.jit=tracing with extension apcu`."""
    return rule(one.alternatives[0])


def rule(conditions: Sequence[frozenset[Attribute]]) -> str:
    """The same of one of its alternatives."""
    return " with ".join(sorted(folded(group)[0] for group in conditions))


def folded(group: Iterable[Attribute]) -> list[str]:
    """A tied group in words: an extension stands for its own settings and its own file."""
    items = sorted(group, key=lambda one: (_ORDER.get(one.family, 9), one))
    loaded = {one.name.lower().replace("zend ", "") for one in items if one.family == "extension"}
    kept = [one for one in items if not _belongs(one, loaded)]
    return each(kept or items)


def _belongs(one: Attribute, loaded: set[str]) -> bool:
    if one.family == "option":
        return one.name.split(".")[0].lower() in loaded
    return one.family == "library" and one.name.removesuffix(".so").lower() in loaded


def each(attributes: Iterable[Attribute]) -> list[str]:
    """Each attribute in words, settings first."""
    return [clean(one.text, limit=90) for one in sorted(attributes, key=lambda one: (_ORDER.get(one.family, 9), one))]


def small(p: float) -> str:
    """A probability with two digits; what is below 0.0001 only as such."""
    return f"{p:.2g}" if p >= 1e-4 else "below 0.0001"
