"""PHP's loaded extensions, as its module registry tells of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from triage.corefile import CoreFile
from triage.corefile.memory import CoreMemory
from triage.corefile.movable import Shift
from triage.runtimes.php.reader import Reader

_PAGE = 4096
_new = tuple.__new__  # a third of the time that calling a NamedTuple takes


class Extension(NamedTuple):
    """A loaded module as its module_entry tells. `entry` is its address, `within` one in the module's own file,
    `api` the number of the interface it was built for.

    Up to 7.4 PHP keeps copies of the entries on its heap; the names they lead to lie in the files all the same.
    """

    name: str
    version: str | None
    entry: int
    zts: bool
    debug: bool
    within: int = 0
    api: int | None = None


class Registered(NamedTuple):
    """The extensions of one process, and as they lay in the first process that had the same."""

    extensions: tuple[Extension, ...]
    alike: tuple[Extension, ...]

    def moved(self, shift: Shift) -> Registered:
        """The same for a process in which all lies elsewhere."""
        to = shift.moved
        found = [
            _new(Extension, (name, version, to(entry), zts, debug, to(within), api))
            for name, version, entry, zts, debug, within, api in self.extensions
        ]
        return Registered(tuple(found), self.alike)


class KnownTexts:
    """Names and versions of extensions, constants of the files they lie in: by build and place there."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int], str | None] = {}

    def of(self, core: CoreFile, reader: Reader, addresses: Sequence[int]) -> list[str | None]:
        """The NUL-terminated texts at these addresses, kept where they lie in what only a file brings."""
        pages = sorted({address - address % _PAGE for address in addresses if address})
        dumped = dict(zip(pages, core.memory.ask(_dumped, *pages), strict=True))
        return [self._text(core, reader, one, dumped.get(one - one % _PAGE)) for one in addresses]

    def _text(self, core: CoreFile, reader: Reader, address: int, dumped: int | None) -> str | None:
        module = core.module_at(address) if address and not dumped else None
        if module is None or module.build_id is None:
            return reader.c_string(address)
        key = module.build_id, address - module.base
        if key not in self._texts:
            self._texts[key] = reader.c_string(address)
        return self._texts[key]


def _dumped(memory: CoreMemory, *pages: int) -> bytes:
    """For each page a byte: whether the kernel dumped any of it."""
    found = bytearray(len(pages))
    for at in memory.dumped_among([(page, page + _PAGE) for page in pages]):
        found[at] = 1
    return bytes(found)


def read_extensions(
    reader: Reader, registry: int, texts: Callable[[Sequence[int]], Iterable[str | None]] | None = None
) -> list[Extension]:
    """The module registry: every loaded extension, in the order it was loaded. `texts` reads C strings."""
    entries = [_Entry.read(reader, entry) for entry in reader.payloads(registry) if entry % 8 == 0]
    there = [entry for entry in entries if entry is not None]
    wanted = [address for entry in there for address in (entry.name, entry.version)]
    found = list(texts(wanted) if texts else map(reader.c_string, wanted))
    return [
        Extension(name, version, entry.address, entry.zts, entry.debug, entry.name, entry.api)
        for entry, name, version in zip(there, found[::2], found[1::2], strict=True)
        if name is not None
    ]


class _Entry(NamedTuple):
    """What of a zend_module_entry is needed: `name` and `version` are addresses of texts."""

    address: int
    name: int
    version: int
    api: int
    zts: bool
    debug: bool

    @classmethod
    def read(cls, reader: Reader, address: int) -> _Entry | None:
        place, read = reader.layout.offset, reader.memory.read
        name_at, (api_at, api_size) = place("module_entry", "name"), reader.layout.place("module_entry", "zend_api")
        head = read(address, name_at + 8)
        version = read(address + place("module_entry", "version"), 8)
        if head is None or version is None:
            return None
        return cls(
            address,
            name=int.from_bytes(head[name_at:], "little"),
            version=int.from_bytes(version, "little"),
            api=int.from_bytes(head[api_at : api_at + api_size], "little"),
            zts=bool(head[place("module_entry", "zts")]),
            debug=bool(head[place("module_entry", "zend_debug")]),
        )
