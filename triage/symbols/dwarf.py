"""Structures as the debug information (DWARF) of one ELF file describes them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from triage.corefile.mapped import open_regular
from triage.errors import InputError
from triage.symbols.dwarf_entries import DAMAGE, RECORDS, children, members, name_of, number, size_of, stripped
from triage.symbols.dwarf_search import TypeSearch

_TAGS = {"struct": "DW_TAG_structure_type", "enum": "DW_TAG_enumeration_type", "": "DW_TAG_typedef"}
_READ = (".debug", ".zdebug", ".rela.debug", ".rel.debug", ".eh_frame", ".gnu_debug", ".note.gnu")
_MOST_BYTES = 1 << 29


class Structure:
    """One structure or union; all figures in bytes."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self.size = number(entry, "DW_AT_byte_size") or 0

    @cached_property
    def _members(self) -> dict[str, tuple[int, Any]]:
        return dict(members(self._entry))

    def places(self, paths: Iterable[str]) -> dict[str, tuple[int, int]] | None:
        """`{path: (offset, size)}` of members such as `len` or `gc.u.type_info`, without those it has not.

        Members of a nameless structure inside count as members of the outer one, as in C. An array
        without a length has size 0. `None` when the description is damaged: half of it would look
        like a structure that lacks fields.
        """
        try:
            found = {path: self._place(path) for path in paths}
        except DAMAGE:
            return None
        return {path: place for path, place in found.items() if place is not None}

    def _place(self, path: str) -> tuple[int, int] | None:
        name, _, rest = path.partition(".")
        if name not in self._members:
            return None
        offset, entry = self._members[name]
        kind = stripped(entry)
        if not rest:
            return offset, size_of(kind)
        if kind is None or kind.tag not in RECORDS:
            return None
        inner = Structure(kind)._place(rest)
        return (offset + inner[0], inner[1]) if inner else None


class DebugTypes:
    """The types in one file's debug information. Its sections are read into memory.

    Raises:
        InputError: when the file cannot be read, is damaged, or has no debug information.
    """

    def __init__(self, path: Path) -> None:
        self.build_id, info, link = _load(path)
        shared = _load_shared(path, link) if link is not None else None
        info.supplementary_dwarfinfo = shared
        self._searches = [TypeSearch(each) for each in (info, shared) if each is not None]

    def structure(self, name: str) -> Structure | None:
        """A structure by its C name: `struct _zval_struct`, or the typedef of a nameless one.

        `None` when it is not described here, or the description is damaged.
        """
        kind = self._find(name)
        return Structure(kind) if kind is not None else None

    def enumerators(self, name: str) -> dict[str, int]:
        """Names and values of an enumeration such as `enum colour`; empty when there is none, or it is damaged."""
        kind = self._find(name)
        try:
            found = list(children(kind)) if kind is not None else []
        except DAMAGE:
            return {}
        return {name_of(child): number(child, "DW_AT_const_value") or 0 for child in found}

    def _find(self, name: str) -> Any:
        """The complete description of a type, `None` when there is none."""
        word, _, rest = name.rpartition(" ")
        for search in self._searches:
            try:
                for entry in search.named(_TAGS[word], rest.encode()):
                    kind = stripped(entry)
                    if kind is not None and "DW_AT_byte_size" in kind.attributes:
                        return kind
            except DAMAGE:
                continue  # a part that cannot be read describes nothing
        return None


def _load(path: Path) -> tuple[str | None, Any, tuple[str, str] | None]:
    """The build-id, the debug information, and the file it shares with others as `(path, build-id)`."""
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            file = ELFFile(stream)
            _check_sizes(file, os.fstat(stream.fileno()).st_size)
            build_id, info, link = _build_id(file), file.get_dwarf_info(follow_links=False), _link(file)
    except OSError as error:
        raise InputError("unreadable", f"the debug information cannot be read: {error.strerror}") from error
    except DAMAGE as error:
        raise InputError("damaged-debug-info", "the debug information is damaged") from error
    if info.debug_info_sec is None:
        raise InputError("no-debug-info", "the file has no debug information")
    return build_id, info, link


def _check_sizes(file: Any, available: int) -> None:
    """Refuse sections that claim more than the file holds, or than it is right to unpack: they are read whole."""
    for section in file.iter_sections():
        if section.name.startswith(_READ):
            empty = section["sh_type"] == "SHT_NOBITS"
            if section.data_size > _MOST_BYTES or not (empty or section["sh_size"] <= available):
                raise InputError("damaged-debug-info", f"{section.name} claims {section.data_size} bytes")


def _build_id(file: Any) -> str | None:
    section = file.get_section_by_name(".note.gnu.build-id")
    for note in section.iter_notes() if section is not None else ():
        if note["n_type"] == "NT_GNU_BUILD_ID":
            return str(note["n_desc"])
    return None


def _link(file: Any) -> tuple[str, str] | None:
    """What dwz writes when several debug files have a common part: where that is, and its build-id."""
    section = file.get_section_by_name(".gnu_debugaltlink")
    name, _, build_id = section.data().partition(b"\0") if section is not None else (b"", b"", b"")
    return (name.decode(), build_id.hex()) if name and build_id else None


def _load_shared(path: Path, link: tuple[str, str]) -> Any:
    """The debug information shared with other files, `None` when it is not here or of another build."""
    try:
        build_id, info, _ = _load(path.resolve().parent / link[0])
    except InputError:
        return None  # what does not need it can still be read
    return info if build_id == link[1] else None
