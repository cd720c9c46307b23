"""A view of the interface as a file: Markdown, HTML or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from triage.report.lines import Line
from triage.text import clean

_STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em;max-width:60em}pre{white-space:pre-wrap;font-size:13px}"
    "pre b{font-weight:600}pre .dim{opacity:.6}pre .warn{color:#a85f00}pre .php{color:#00785a}"
    "@media(prefers-color-scheme:dark){body{background:#16181d;color:#d8dee9}pre .warn{color:#e69f00}"
    "pre .php{color:#00c292}}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What is on screen. `name` is for the file, without an ending; `value` is for JSON."""

    title: str
    name: str
    lines: Sequence[Line]
    value: object


def as_markdown(view: Export) -> str:
    """Heads as headings, everything else verbatim: stacks and tables are set in columns."""
    title = clean(view.title).replace("`", "")
    body = "\n".join(_blocks(view.lines))
    return f"# `{title}`\n\n{body}\n"


def _blocks(lines: Iterable[Line]) -> Iterable[str]:
    held: list[str] = []
    for line in [*lines, Line("", "head")]:
        if line.look != "head":
            held.append(clean(line.text))
            continue
        text = "\n".join(held).strip("\n")
        if text.strip():
            fence = "`" * max(3, max((len(run) for run in _ticks(text)), default=0) + 1)
            yield f"{fence}\n{text}\n{fence}\n"
        held = []
        if line.text:
            yield f"## {clean(line.text)}\n"


def _ticks(text: str) -> Iterable[str]:
    return ["`" * len(run) for run in "".join(c if c == "`" else " " for c in text).split()]


def as_html(view: Export) -> str:
    """A page that needs nothing else: no script, nothing loaded, every text escaped."""
    title = escape(clean(view.title))
    body = "\n".join(_html(line) for line in view.lines)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{title}</h1>\n<pre>{body}</pre></body></html>\n"
    )


def _html(line: Line) -> str:
    text = escape(clean(line.text))
    if line.look in ("head", "title"):
        return f"<b>{text}</b>"
    return f'<span class="{line.look}">{text}</span>' if line.look in ("dim", "warn", "php") else text


def as_json(view: Export) -> str:
    """The same record that `--json` prints."""
    return json.dumps(view.value, ensure_ascii=True, indent=1) + "\n"


FORMATS: Mapping[str, tuple[str, Callable[[Export], str]]] = {
    "m": ("md", as_markdown),
    "h": ("html", as_html),
    "j": ("json", as_json),
}
"""The ending and the writer, by the key that chooses it."""
