"""Where PHP keeps its state: the global structures, by the names Debian's stripped binary exports."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triage.corefile import CoreFile
from triage.corefile.modules import MappedModule
from triage.runtimes.php.layout import Layout, known_versions, layout_for
from triage.runtimes.php.measured import refine
from triage.runtimes.php.reader import Reader
from triage.symbols import Finder
from triage.symbols.finder import Located

_LOOKS_LIKE_PHP = re.compile(r"/(?:lib)?php[^/]*$|/php-fpm[^/]*$|/frankenphp$")
_NEEDED = ("executor_globals", "module_registry", "sapi_module")
_WANTED = (
    *("core_globals", "sapi_globals", "basic_globals", "zend_execute_ex", "execute_ex"),
    *("zend_flf_functions", "zend_flf_handlers"),
    *("zend_execute_internal", "zend_compile_file", "zend_compile_string", "zend_error_cb"),
    *("zend_throw_exception_hook", "zend_interrupt_function", "zend_ticks_function"),
    "zend_observer_fcall_op_array_extension",
)
# The module list is read before the version is known: HashTable, Bucket and the first fields of
# module_entry have been the same since 7.0.
_ANY = "8.2.0"


@dataclass(frozen=True, slots=True)
class Extension:
    """A loaded module as its module_entry tells. `entry` is its address."""

    name: str
    version: str | None
    entry: int
    zts: bool
    debug: bool


@dataclass(frozen=True, slots=True)
class Php:
    """PHP found in a core: the module that holds it, its addresses, its version."""

    module: MappedModule
    addresses: dict[str, int]
    version: str
    extensions: tuple[Extension, ...]
    zts: bool
    debug: bool
    layout: Layout
    warnings: tuple[str, ...] = ()

    def address(self, name: str) -> int | None:
        """The address of a global structure, `None` when the binary does not export it."""
        return self.addresses.get(name)


def find_php(core: CoreFile, finder: Finder) -> Php | str | None:
    """PHP in this core; `None` when there is none; a sentence when there is but it cannot be read."""
    candidates = [module for module in core.modules if _LOOKS_LIKE_PHP.search(module.path)]
    executable = core.executable
    if executable is not None and executable not in candidates:
        candidates.append(executable)
    reasons: list[str] = []
    for module in candidates:
        found = _in_module(core, finder, module)
        if isinstance(found, Php):
            return found
        if found:
            reasons.append(found)
    return "; ".join(reasons) or None


def _in_module(core: CoreFile, finder: Finder, module: MappedModule) -> Php | str | None:
    located = finder.locate(module)
    if located.file is None:
        if _LOOKS_LIKE_PHP.search(module.path):
            return _lacking(module, located.symbols)
        return None
    symbols = located.file.symbols
    if "module_registry" not in symbols:
        return None
    addresses = {name: symbols[name].address + module.base for name in (*_NEEDED, *_WANTED) if name in symbols}
    return _identify(core, located, module, addresses)


def _lacking(module: MappedModule, why: str) -> str:
    what = "is of another build than the one that crashed" if why == "mismatch" else "is not on this machine"
    return (
        f"PHP's own state was not read: {module.path} {what} "
        f"(build-id {module.build_id or 'unknown'}). Give its folder with --sysroot or --debug-dir."
    )


def _identify(core: CoreFile, located: Located, module: MappedModule, addresses: dict[str, int]) -> Php | str:
    bootstrap = layout_for(_ANY, zts=False)
    if bootstrap is None:
        raise LookupError(f"the layout table lacks {_ANY}")
    extensions = read_extensions(Reader(core.memory, bootstrap), addresses["module_registry"])
    engine = next((e for e in extensions if e.name.lower() in ("core", "standard") and e.version), None)
    if engine is None or engine.version is None:
        return f"PHP's own state was not read: the module list in {module.path} is unreadable or damaged"
    layout = layout_for(engine.version, zts=engine.zts, machine=core.machine)
    if layout is None:
        return (
            f"PHP's own state was not read: no structure table for PHP {engine.version} on {core.machine}; "
            f"known are {', '.join(known_versions())}"
        )
    layout, doubts = refine(layout, located)
    return Php(module, addresses, engine.version, tuple(extensions), engine.zts, engine.debug, layout, doubts)


def read_extensions(reader: Reader, registry: int) -> list[Extension]:
    """The module registry: every loaded extension, in the order it was loaded."""
    found = []
    for element in reader.elements(registry):
        entry = element.value.payload
        name = reader.c_string(reader.field(entry, "module_entry", "name")) if reader.sound(entry) else None
        if name is None:
            continue
        found.append(
            Extension(
                name=name,
                version=reader.c_string(reader.field(entry, "module_entry", "version")),
                entry=entry,
                zts=bool(reader.field(entry, "module_entry", "zts")),
                debug=bool(reader.field(entry, "module_entry", "zend_debug")),
            )
        )
    return found
