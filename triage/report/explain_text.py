"""The explanation of a crash as lines of text, terms explained where they first occur."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from triage.explain import Page, Part, Statement
from triage.explain.glossary import met
from triage.report.lines import Line, wrapped
from triage.text import clean


def page_lines(page: Page, *, evidence: bool = False) -> Iterator[Line]:
    """The whole page; with `evidence`, what each sentence rests on below it."""
    yield Line(clean(page.title), "title")
    yield Line(f"  crash       {page.crash}")
    yield from part_lines(page.parts, evidence=evidence)


def part_lines(parts: Iterable[Part], *, evidence: bool = False) -> Iterator[Line]:
    """Parts with their heads; statements are numbered where there is something to do."""
    known: set[str] = set()
    for part in parts:
        yield Line("")
        yield Line(part.head, "head")
        numbered = any(statement.commands for statement in part.statements)
        for at, statement in enumerate(part.statements, 1):
            number = f"{at}. " if numbered else ""
            yield from statement_lines(statement, number, known, evidence=evidence)


def statement_lines(
    statement: Statement, number: str = "", known: set[str] | None = None, *, evidence: bool = False
) -> Iterator[Line]:
    """One statement with its commands; terms that are not in `known` are explained, none without it."""
    sure = f"  [{statement.confidence}]" if statement.confidence is not None else ""
    yield from wrapped(f"{number}{statement.text}{sure}")
    for word, meaning in met(statement.text, known) if known is not None else ():
        yield from wrapped(f"   ({word}: {meaning})", "dim")
    if statement.control:
        yield Line("       first, the control:")
    for command in statement.control:
        yield Line(f"         {clean(command)}", "php")
    if statement.control and statement.commands:
        yield Line("       then:")
    for command in statement.commands:
        yield Line(f"         {clean(command)}", "php")
    if statement.undo:
        yield Line("       to undo:")
    for command in statement.undo:
        yield Line(f"         {clean(command)}", "php")
    for seen, meaning in statement.outcomes:
        yield from wrapped(f"   - {seen}: {meaning}")
        for word, meant in met(meaning, known) if known is not None else ():
            yield from wrapped(f"   ({word}: {meant})", "dim")
    for item in statement.evidence if evidence else ():
        yield from wrapped(f"   because {item}", "dim")
