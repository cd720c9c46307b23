"""Names brought to one form, so that the same function is the same text everywhere."""

from __future__ import annotations

import re
from functools import lru_cache

from triage import lists
from triage.lists import Words

# glibc picks one of many copies at run time by the processor: `__memcpy_avx_unaligned_erms`.
_PROCESSOR = re.compile(
    r"^_*(\w+?)_(?:sse\d?\w*|ssse3\w*|avx\w*|evex\w*|erms|x86_64|generic|sve\w*|neon|falkor|thunderx\w*)$"
)
_COPYING = ("mem", "str", "wmem", "wcs", "stp", "rawmem")
_OPERATOR = re.compile(r"operator\s*(?:->\*?|<=>|<<=?|>>=?|<=?|>=?|\(\))")


@lru_cache(maxsize=65536)
def function_name(name: str) -> str:
    """`name` without clone suffixes, processor variants, library aliases, template and call arguments."""
    for pattern, replacement in _rewrites("rewrites.txt"):
        name = pattern.sub(replacement, name)
    variant = _PROCESSOR.match(name)
    if variant and variant[1].lstrip("_").startswith(_COPYING):
        return variant[1].lstrip("_")
    return _without_arguments(name) if "(" in name or "<" in name else name


@lru_cache(maxsize=4096)
def module_name(path: str) -> str:
    """The file name of a module without the version that changes with every update: `libffi.so`.

    Programs that are one and the same under several names (php8.2, php-fpm8.2) get one name.
    """
    name = re.sub(r"(\.so)(?:\.\d+)+$", r"\1", path.rsplit("/", 1)[-1])
    for pattern, replacement in _rewrites("modules.txt"):
        found = pattern.fullmatch(name)
        if found:
            return found.expand(replacement)
    return name


def _without_arguments(name: str) -> str:
    """A C++ or Rust name with `<…>` for its template arguments, and no call arguments or return type."""
    kept: list[str] = []
    depth, round_at = 0, None
    at = 0
    while at < len(name):
        operator = _OPERATOR.match(name, at) if depth == 0 else None
        if operator:
            kept.append(operator[0])
            at = operator.end()
            continue
        letter = name[at]
        if letter == "<":
            if depth == 0:
                kept.append("<>")
            depth += 1
        elif letter == ">" and depth:
            depth -= 1
        elif depth == 0 and letter == "(" and kept and round_at is None:
            round_at = at
            break
        elif depth == 0:
            kept.append(letter)
        at += 1
    return "".join(kept).strip() or name


@lru_cache(maxsize=1024)
def instruction(opcode: str) -> str:
    """The family of an instruction of the interpreter."""
    for pattern, family in _rewrites("opcodes.txt"):
        found = pattern.fullmatch(opcode)
        if found:
            return found.expand(family)
    return opcode


def words(file: str) -> Words:
    """The list in this room's `lists/FILE`."""
    return lists.words(__package__ or "", file)


def _rewrites(file: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return lists.rewrites(__package__ or "", file)
