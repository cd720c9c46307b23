"""Where PHP keeps its state: its global structures, and by what means each was found.

First by name, as Debian's stripped binary exports them; then by the slots its extensions have for
them; then by searching memory for what must be in them. What does not verify is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.corefile.twins import Asked, Twins
from triage.runtimes.php.extensions import Extension, KnownTexts, Registered, read_extensions
from triage.runtimes.php.layout import Layout, known_versions, layout_for
from triage.runtimes.php.measured import KnownLayouts
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.roots.follow import core_globals, registry
from triage.runtimes.php.roots.relocations import relocated
from triage.runtimes.php.roots.scan import Executor, executors
from triage.runtimes.php.roots.threads import records
from triage.symbols import Finder
from triage.symbols.elffile import ElfFile

_LOOKS_LIKE_PHP = re.compile(r"/(?:lib)?php[^/]*$|/php-fpm[^/]*$|/frankenphp$")
_NEEDED = ("module_registry", "executor_globals", "sapi_module")
_WANTED = (
    *("core_globals", "sapi_globals", "basic_globals", "zend_execute_ex", "execute_ex"),
    *("zend_flf_functions", "zend_flf_handlers"),
    *("zend_execute_internal", "zend_compile_file", "zend_compile_string", "zend_error_cb"),
    *("zend_throw_exception_hook", "zend_interrupt_function", "zend_ticks_function"),
    "zend_observer_fcall_op_array_extension",
)
_OFFSETS = tuple(f"{name}_globals_offset" for name in ("executor", "core", "sapi", "basic"))
"""Variables of thread-safe builds (7.4 and newer): how far behind a thread's record its globals lie."""
_MOST_STORAGE = 16 * 1024 * 1024
_MOST_SEARCHED = 64 * 1024 * 1024
# The module list is read before the version is known: HashTable, Bucket and the first fields of
# module_entry have been the same since 7.0.
_ANY = "8.2.0"


@dataclass(frozen=True, slots=True)
class Php:
    """PHP found in a core: the module that holds it, its addresses, its version.

    `addresses` are those of the crashed thread; `threads` those of every thread that has globals of
    its own (ZTS builds). `provenance` tells by what means each was found.
    """

    module: MappedModule
    addresses: dict[str, int]
    version: str
    extensions: tuple[Extension, ...]
    zts: bool
    debug: bool
    layout: Layout
    warnings: tuple[str, ...] = ()
    sapi: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    threads: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    alike: tuple[Extension, ...] = ()
    """The extensions as they lay in the first process that had the same: one object for all of these."""

    def address(self, name: str) -> int | None:
        """The address of a global structure, `None` when it was not found."""
        return self.addresses.get(name)

    def for_thread(self, thread: int) -> Php | None:
        """The same process as one thread sees it; `None` when that thread has no PHP state."""
        if thread not in self.threads:
            return None
        return replace(self, addresses={**self.addresses, **self.threads[thread]})


def _looks_like_php(path: str) -> bool:
    return _LOOKS_LIKE_PHP.search(path) is not None


def find_php(core: CoreFile, finder: Finder, *, without: frozenset[str] = frozenset()) -> Php | str | None:
    """PHP in this core; `None` when there is none; a sentence when there is but it cannot be read.

    `without` leaves out means of finding: `symbols`, `relocations`, `search`.
    """
    twins = finder.kept(Twins)
    likely = twins.alike(core, "looks like PHP", lambda files: [_looks_like_php(path) for path, *_ in files.same])
    candidates = sorted(compress(twins.files(core).modules, likely), key=lambda module: module.start)
    executable = core.executable
    if executable is not None and executable not in candidates:
        candidates.append(executable)
    reasons: list[str] = []
    for module in candidates:
        found = _Search(core, finder, module, without).run()
        if isinstance(found, Php):
            return found
        if found:
            reasons.append(found)
    return "; ".join(reasons) or None


class KnownNames:
    """Where files that hold PHP have its variables, as the names they export tell: nothing for any other file."""

    def __init__(self) -> None:
        self._places: dict[ElfFile, dict[str, int]] = {}

    def of(self, file: ElfFile) -> Mapping[str, int]:
        """Distances from the file's base by name."""
        if file not in self._places:
            symbols = file.symbols
            names = (*_NEEDED, *_WANTED, *_OFFSETS) if "module_registry" in symbols else ()
            self._places[file] = {name: symbols[name].address for name in names if name in symbols}
        return self._places[file]


class _Search:
    """The search in one module."""

    def __init__(self, core: CoreFile, finder: Finder, module: MappedModule, without: frozenset[str]) -> None:
        self._core = core
        self._finder = finder
        self._module = module
        self._without = without
        self._located = finder.locate(module)
        self._addresses: dict[str, int] = {}
        self._provenance: dict[str, str] = {}

    def run(self) -> Php | str | None:
        """PHP in this module, `None` when it is none, a sentence when it cannot be read."""
        self._by_name()
        if not self._addresses and not self._may_be_php():
            return None
        if "executor_globals" not in self._addresses:
            self._by_relocation()
        if "module_registry" in self._addresses:
            return self._identify()
        return self._by_search()

    def _note(self, name: str, address: int, means: str) -> None:
        self._addresses.setdefault(name, address)
        self._provenance.setdefault(name, means)

    def _by_name(self) -> None:
        file = self._located.file
        if file is None or "symbols" in self._without:
            return
        places, base = self._finder.kept(KnownNames).of(file), self._module.base
        self._addresses = {name: base + place for name, place in places.items()}
        self._provenance = dict.fromkeys(places, "symbol")

    def _may_be_php(self) -> bool:
        """Whether a search is worth its time: the name says PHP, or the program's own data does."""
        if _looks_like_php(self._module.path):
            return True
        file = self._located.file
        return file is not None and b"PHP_VERSION\0" in file.contents[:_MOST_SEARCHED]

    def _by_relocation(self) -> None:
        if "relocations" in self._without:
            return
        names = (*_NEEDED, *_WANTED)
        for name, address, path in relocated(self._core, self._finder, self._module, names):
            self._note(name, address, f"used by {path.rsplit('/', 1)[-1]}")

    def _by_search(self) -> Php | str | None:
        """From an executor that verifies to everything that can be followed from it."""
        if "search" in self._without:
            return self._lacking()
        found = next(self._executors(), None)
        if found is None:
            return self._lacking() if _looks_like_php(self._module.path) else None
        reader = Reader(self._core.memory, found.layout)
        threads: dict[int, dict[str, int]] = {}
        if found.zts:
            threads = self._searched_threads(reader)
        else:
            self._note("executor_globals", found.address, "search")
            settings = core_globals(reader, found.address, None)
            if settings is not None:
                self._note("core_globals", settings, "followed")
        modules = registry(self._core, reader, found.address, self._module)
        if modules is not None:
            self._note("module_registry", modules, "search")
        extensions = tuple(read_extensions(reader, modules)) if modules is not None else ()
        return self._php(
            found.version, found.zts, found.debug, found.layout, extensions, threads, found.sapi, extensions
        )

    def _executors(self) -> Iterator[Executor]:
        return executors(self._core, (self._module.start, self._module.end))

    def _searched_threads(self, reader: Reader) -> dict[int, dict[str, int]]:
        """Executors of a thread-safe build, each with the thread whose record lies before it."""
        owners = sorted((r.address, r) for several in records(self._core).values() for r in several)
        found: dict[int, dict[str, int]] = {}
        for executor in self._executors():
            before = [record for address, record in owners if address < executor.address < address + _MOST_STORAGE]
            if before and before[-1].thread not in found:
                own = {"executor_globals": executor.address}
                settings = core_globals(reader, executor.address, before[-1].storage)
                found[before[-1].thread] = own | ({"core_globals": settings} if settings else {})
        return found

    def _lacking(self) -> str:
        if self._located.file is not None:
            return (
                f"PHP's own state was not read: {self._module.path} exports no names, and its memory "
                "does not hold together"
            )
        mismatch = self._located.symbols == "mismatch"
        what = "is of another build than the one that crashed" if mismatch else "is not on this machine"
        return (
            f"PHP's own state was not read: {self._module.path} {what} "
            f"(build-id {self._module.build_id or 'unknown'}). Give its folder with --sysroot or --debug-dir."
        )

    def _identify(self) -> Php | str:
        bootstrap = layout_for(_ANY, zts=False)
        if bootstrap is None:
            raise LookupError(f"the layout table lacks {_ANY}")
        twins, registry_at = self._finder.kept(Twins), self._addresses["module_registry"]
        kin = twins.kind(twins.files(self._core).same), "extensions", registry_at - self._module.base
        extensions, alike = twins.get(
            self._core,
            Asked((twins.kind(self._core.modules), "extensions", registry_at), kin),
            lambda core: self._extensions(core, bootstrap, registry_at),
            move=Registered.moved,
        )
        engine = next((e for e in extensions if e.name.lower() in ("core", "standard") and e.version), None)
        if engine is None or engine.version is None:
            return f"PHP's own state was not read: the module list in {self._module.path} is unreadable or damaged"
        layout = layout_for(engine.version, zts=engine.zts, machine=self._core.machine)
        if layout is None:
            return (
                f"PHP's own state was not read: no structure table for PHP {engine.version} on {self._core.machine}; "
                f"known are {', '.join(known_versions())}"
            )
        threads = self._named_threads(layout) if engine.zts else {}
        return self._php(engine.version, engine.zts, engine.debug, layout, extensions, threads, None, alike)

    def _extensions(self, core: CoreFile, layout: Layout, registry_at: int) -> Registered:
        reader = Reader(core.memory, layout)
        texts = partial(self._finder.kept(KnownTexts).of, core, reader)
        found = tuple(read_extensions(reader, registry_at, texts))
        return Registered(found, found)

    def _named_threads(self, layout: Layout) -> dict[int, dict[str, int]]:
        """Each thread's globals by the distances that a thread-safe build keeps in variables (7.4 and newer)."""
        reader = Reader(self._core.memory, layout)
        distances = {
            name.removesuffix("_offset"): reader.number(self._addresses[name])
            for name in _OFFSETS
            if name in self._addresses
        }
        found: dict[int, dict[str, int]] = {}
        for thread, several in records(self._core).items():
            for record in several:
                own = {name: record.address + by for name, by in distances.items() if by and by < _MOST_STORAGE}
                if _is_executor(reader, own.get("executor_globals")):
                    found[thread] = own
                    break
        return found

    def _php(
        self,
        version: str,
        zts: bool,  # noqa: FBT001
        debug: bool,  # noqa: FBT001
        layout: Layout,
        extensions: tuple[Extension, ...],
        threads: dict[int, dict[str, int]],
        sapi: str | None,
        alike: tuple[Extension, ...],
    ) -> Php:
        layout, doubts = self._finder.kept(KnownLayouts).refined(layout, self._located)
        crashed = threads.get(self._core.notes.threads[0].id, {})
        for name, address in crashed.items():
            self._note(name, address, "thread record")
        return Php(
            module=self._module,
            addresses=self._addresses,
            version=version,
            extensions=extensions,
            zts=zts,
            debug=debug,
            layout=layout,
            warnings=doubts,
            sapi=sapi,
            provenance=self._provenance,
            threads=threads,
            alike=alike,
        )


def _is_executor(reader: Reader, address: int | None) -> bool:
    """Whether the tables an executor always has are at `address`."""
    if address is None:
        return False
    tables = (
        reader.pointer(address, "executor_globals", name)
        for name in ("function_table", "class_table", "zend_constants")
    )
    return all(table is not None and reader.field(table, "array", "nNumOfElements") for table in tables)
