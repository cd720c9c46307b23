"""Function names brought to one form, so that the same function is the same text everywhere."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

# What compilers append to parts and copies of one function.
_CLONE = re.compile(r"(?:\.(?:cold|part|isra|constprop|lto_priv|localalias|llvm)(?:\.\d+)?)+$|@plt$|@@?[\w.]+$")
# glibc picks one of many copies at run time by the processor: `__memcpy_avx_unaligned_erms`.
_PROCESSOR = re.compile(
    r"^_*(\w+?)_(?:sse\d?\w*|ssse3\w*|avx\w*|evex\w*|erms|x86_64|generic|sve\w*|neon|falkor|thunderx\w*)$"
)
_INTERNAL_ALIAS = re.compile(r"^__(?:GI|libc|internal)_+")


def function_name(name: str) -> str:
    """`name` without clone suffixes, processor variants and libc's internal aliases."""
    plain = _CLONE.sub("", name)
    variant = _PROCESSOR.match(plain)
    if variant and variant[1].lstrip("_").startswith(("mem", "str", "wmem", "wcs", "stp", "rawmem")):
        return variant[1].lstrip("_")
    return _INTERNAL_ALIAS.sub("", plain) if plain.startswith("__GI_") else plain


def module_name(path: str) -> str:
    """The file name of a module without the version that changes with every update: `libffi.so`."""
    name = path.rsplit("/", 1)[-1]
    return re.sub(r"(\.so)(?:\.\d+)+$", r"\1", name)


class Words:
    """A list of regular expressions from a data file; `in` asks whether one matches a whole name."""

    def __init__(self, file: str) -> None:
        text = resources.files(__package__).joinpath("lists", file).read_text("utf-8")
        lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
        parts = (part.strip() for line in lines if line for part in line.split(" | "))
        self._pattern = re.compile("|".join(f"(?:{part})" for part in parts))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._pattern.fullmatch(name) is not None


@cache
def words(file: str) -> Words:
    """The list in `lists/FILE`, read once."""
    return Words(file)
