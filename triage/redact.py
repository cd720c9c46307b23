"""What must not be stored: secrets in command lines, settings and URLs.

Redaction is by name (`password`, `token`, …) and by shape (credentials inside URLs, long
random-looking words). It errs on the side of hiding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

HIDDEN = "[redacted]"
_NAME = re.compile(
    r"pass|pwd|\bpw\b|_pw\b|secret|token|api[_-]?key|auth|credential|dsn|cookie|session_?id|private", re.I
)
# PHP's own directives whose names only sound secret: how cookies and the session module behave.
_PUBLIC = re.compile(
    r"session\.(cookie_(lifetime|path|domain|secure|httponly|samesite)|use_(only_)?cookies|auto_start|sid_\w+)"
    r"|url_rewriter\.tags|auto_(append|prepend)_file|mysqlnd?\.\w*(authentication|auth)_plugin\w*"
)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s]+@", re.I)  # greedy: an @ may be in the password
_QUERY_SECRET = re.compile(
    r"((?:^|[?&;:\s])[^=?&;:\s]*(?:pass|pwd|_pw\b|secret|token|key|auth)[^=&;\s]*=)[^&;\s\"']+", re.I
)
_RANDOM = re.compile(r"(?<![A-Za-z0-9_+-])(?=[A-Za-z0-9_+-]*\d)(?=[A-Za-z0-9_+-]*[A-Za-z])[A-Za-z0-9_+=-]{24,}")
_SHORTEST_TOKEN = 24
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[+=]+")


def text(value: str) -> str:
    """`value` with credentials in URLs, secret query parameters and long tokens hidden."""
    # What a pattern cannot do without is looked for first: most texts are short names and numbers.
    if "://" in value:
        value = _USERINFO.sub(rf"\1{HIDDEN}@", value)
    if "=" in value:
        value = _QUERY_SECRET.sub(rf"\1{HIDDEN}", value)
    if len(value) < _SHORTEST_TOKEN:
        return value
    return _RANDOM.sub(lambda found: found[0] if _is_name(found[0]) else HIDDEN, value)


def _is_name(word: str) -> bool:
    """Whether a long word is built like a name: `import_invoices_v2`, `CartV2Test`. Tokens mix more."""
    pieces = _PIECE.findall(word)
    numbers = [piece for piece in pieces if piece.isdigit()]
    words = [piece for piece in pieces if piece.isalpha() and piece not in ("v", "V")]
    return (
        len(numbers) == 1
        and len(numbers[0]) == 1
        and len(words) + 2 >= len(pieces)
        and all(len(piece) > 1 for piece in words)
    )


def setting(name: str, value: str | None) -> str | None:
    """The value of a named setting, hidden whole when the name says it is a secret."""
    if value and _is_secret(name):
        return HIDDEN
    return text(value) if value else value


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    return bool(_NAME.search(name)) and not _PUBLIC.fullmatch(name)


def command_line(arguments: Sequence[str]) -> tuple[str, ...]:
    """A command line with the values of secret options hidden."""
    return tuple(_arguments(arguments))


def _arguments(arguments: Sequence[str]) -> Iterator[str]:
    hide_next = False
    for index, argument in enumerate(arguments):
        if index == 0:
            yield argument
        elif hide_next and not argument.startswith("--"):
            yield HIDDEN
            hide_next = False
        elif argument.startswith("-") and "=" in argument:
            name, value = argument.split("=", 1)
            yield f"{name}={setting(name, value)}"
        else:
            hide_next = argument.startswith("--") and bool(_NAME.search(argument))
            yield _short_password(argument) or text(argument)


def _short_password(argument: str) -> str | None:
    """`-pSECRET`, as database clients take it."""
    return f"-p{HIDDEN}" if re.fullmatch(r"-p[^-\s].*", argument) else None


def uri(value: str | None) -> str | None:
    """A request's path without its query string and fragment."""
    return text(re.split(r"[?#]", value, maxsplit=1)[0]) if value else None


_MOST_VARIABLES = 200
_HARMLESS = re.compile(
    r"LANG(UAGE)?|LC_\w+|TZ|TERM|PATH|PWD|HOME|USER|LOGNAME|SHELL|SHLVL|HOSTNAME|PHP_\w*(VERSION|URL|INI\w*|DIR|CFLAGS)"
    r"|USE_(ZEND_ALLOC\w*|TRACKED_ALLOC)|MALLOC_\w+|GLIBC_TUNABLES|LD_(LIBRARY_PATH|PRELOAD)|ZEND_\w+|OPCACHE_\w+"
    r"|FCGI_ROLE|GATEWAY_INTERFACE|SERVER_(SOFTWARE|PROTOCOL|NAME|PORT|ADDR)|REQUEST_(METHOD|SCHEME|TIME)|REDIRECT_STATUS"
    r"|DOCUMENT_(ROOT|URI)|SCRIPT_(NAME|FILENAME)|CONTENT_(LENGTH|TYPE)|HTTP_(HOST|CONNECTION)|HTTPS|PHP_SELF"
)


def is_harmless(name: str) -> bool:
    """Whether a variable of that name tells about the machine or the program, never about a person or a key."""
    return _HARMLESS.fullmatch(name) is not None


def environment(found: Mapping[str, str]) -> dict[str, str]:
    """Environment variables by name; of all but harmless ones only how long their value is."""
    return {text(name): variable(name, value) for name, value in sorted(found.items())[:_MOST_VARIABLES]}


def variable(name: str, value: str) -> str:
    """The value of an environment variable where its name says it is harmless, else its length."""
    return text(value) if is_harmless(name) else f"<{len(value)} characters>"
