"""Where bytes and foreign strings become text that is safe to show.

Everything read from a core is hostile: a request URI may hold escape sequences that
reprogram the reader's terminal. `clean()` is the one gate; views call it on every
string that did not come from this program.
"""

from __future__ import annotations

_KEEP = {"\n", "\t"}


def clean(value: str | bytes, *, limit: int | None = None, keep_newlines: bool = False) -> str:
    """Return `value` with every character that is not printable made visible.

    Control characters, escape, bidi marks, lone surrogates and unassigned code points
    become `\\x1b` / `\\u202e` forms. `limit` caps the result's length in characters, with
    an ellipsis in the last place.
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if limit is not None and len(text) > limit * 2:
        text = text[: limit * 2]  # bounds the work on a megabyte string; the cut below is exact
    if not text.isprintable():
        text = "".join(_visible(char, keep_newlines=keep_newlines) for char in text)
    if limit is not None and len(text) > limit:
        return text[: max(0, limit - 1)] + "…"
    return text


def _visible(char: str, *, keep_newlines: bool) -> str:
    if char.isprintable() or (keep_newlines and char in _KEEP):
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def from_bytes(raw: bytes) -> str:
    """Decode bytes of a core as UTF-8; undecodable bytes become `\\xNN` text.

    The result may still hold control characters: it is data, not yet display text.
    """
    return raw.decode("utf-8", "backslashreplace")


def number(text: str) -> int | None:
    """A whole number that a file tells in ASCII digits; `None` for what is none or fits no database (10^18)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def size(count: int) -> str:
    """A byte count for people: `7.1 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        shown = f"{value:.0f}" if unit == "B" else f"{value:.1f}"
        if float(shown) < 1000 or unit == "GB":  # as shown: 999,999 B are 1.0 MB, not 1000.0 kB
            return f"{shown} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def plural(count: int, noun: str) -> str:
    """`1 crash`, `2 crashes`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}es" if noun.endswith(("sh", "s", "x")) else f"{count} {noun}s"
