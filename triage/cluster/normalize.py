"""Function names brought to one form, so that the same function is the same text everywhere."""

from __future__ import annotations

import re

from triage import lists
from triage.lists import Words

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


def words(file: str) -> Words:
    """The list in this room's `lists/FILE`."""
    return lists.words(__package__ or "", file)
