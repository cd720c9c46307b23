"""Terms explained where they first occur on a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Term:
    """A term, all its forms as one pattern, and its explanation."""

    name: str
    pattern: re.Pattern[str]
    meaning: str


@cache
def terms() -> tuple[Term, ...]:
    """All terms of lists/glossary.txt."""
    text = resources.files("triage.explain").joinpath("lists", "glossary.txt").read_text("utf-8")
    found = []
    for line in text.splitlines():
        names, separator, meaning = line.partition(" = ")
        if separator and not line.startswith("#"):
            forms = [form.strip() for form in names.split(" | ")]
            pattern = "|".join(rf"(?<![\w/.-]){re.escape(form)}(?:s|es)?(?![\w-])" for form in forms)
            found.append(Term(forms[0], re.compile(pattern), meaning.strip()))
    return tuple(found)


def met(text: str, known: set[str]) -> Iterator[tuple[str, str]]:
    """`(the word as it stands there, its meaning)` of terms in `text` not known yet; they are from now on."""
    for term in terms():
        found = term.pattern.search(text) if term.name not in known else None
        if found is not None:
            known.add(term.name)
            yield found[0], term.meaning
