"""PHP in a core: found by exported symbols, read with measured structure tables."""

from __future__ import annotations

from triage.corefile import CoreFile
from triage.corefile.elf import PF_W, PF_X
from triage.model import Runtime
from triage.runtimes.php import facts, ini
from triage.runtimes.php.frames import Frameless, StackReader, Walk
from triage.runtimes.php.globals import Php, find_php
from triage.runtimes.php.names import native_names
from triage.runtimes.php.reader import Reader
from triage.runtimes.protocol import Reading
from triage.symbols import Finder

LOOPS = frozenset({"execute_ex", "zend_execute_ex"})
_MOST_DATA = 64 * 1024 * 1024
_SHARED = ("/dev/zero (deleted)", "/SYSV", "/memfd:opcache")


def detect(core: CoreFile, finder: Finder, *, script_frames: int = 100_000) -> PhpProcess | str | None:
    """PHP in this core, `None` when it is no PHP process, or a sentence why PHP cannot be read."""
    found = find_php(core, finder)
    return PhpProcess(core, found, script_frames) if isinstance(found, Php) else found


class PhpProcess:
    """One PHP process's state. `read()` never raises for what the core holds or lacks."""

    name = "php"

    def __init__(self, core: CoreFile, php: Php, script_frames: int) -> None:
        self._core = core
        self._php = php
        self._reader = Reader(core.memory, php.layout)
        self._limit = script_frames
        self._warnings: list[str] = []

    def read(self) -> Reading:
        """Stack, names and facts; whatever cannot be read is missing and named in the warnings."""
        jit = self._jit_ranges()
        walk = self._walk(jit)
        return Reading(
            runtime=self._runtime(walk, jit),
            frames=walk.frames,
            depth=walk.depth,
            names=self._names(),
            loops=LOOPS,
            code=jit,
            warnings=(*self._warnings, *walk.warnings),
        )

    def _executor(self, field: str) -> int | None:
        at = self._php.address("executor_globals")
        return self._reader.field(at, "executor_globals", field) if at else None

    def _walk(self, jit: tuple[tuple[int, int], ...]) -> Walk:
        if self._php.address("executor_globals") is None:
            kind = "a thread-safe (ZTS) build" if self._php.zts else "this binary"
            self._warnings.append(f"the PHP stack was not read: {kind} does not export executor_globals")
            return Walk((), 0, ())
        before = self._executor("opline_before_exception")
        stack = StackReader(self._reader, opline_before_exception=before, jit=jit, frameless=self._frameless())
        return stack.walk(self._executor("current_execute_data"), limit=self._limit)

    def _frameless(self) -> Frameless | None:
        """The table of functions that PHP 8.4 and newer call without a frame."""
        places = [self._php.address(f"zend_flf_{name}") for name in ("functions", "handlers")]
        functions, handlers = (self._reader.number(place) if place else None for place in places)
        return Frameless(functions, handlers) if functions and handlers else None

    def _names(self) -> dict[int, str]:
        return native_names(
            self._reader,
            self._executor("function_table"),
            self._executor("class_table"),
            self._php.extensions,
        )

    def _runtime(self, walk: Walk, jit: tuple[tuple[int, int], ...]) -> Runtime:
        reader, php = self._reader, self._php
        main = walk.frames[-1].file if walk.frames else None
        return Runtime(
            name=self.name,
            version=php.version,
            sapi=facts.sapi(reader, php),
            debug=php.debug,
            zts=php.zts,
            script=facts.script(reader, php) or main,
            request=facts.request(reader, php),
            extensions={extension.name: extension.version for extension in php.extensions},
            options=self._options(),
            memory=facts.memory(reader, php),
            last_error=facts.last_error(reader, php),
            exception=facts.exception(reader, php),
            jit=bool(jit),
        )

    def _options(self) -> dict[str, str | None]:
        table = self._executor("ini_directives")
        if not table:
            self._warnings.append("the ini directives were not read: EG(ini_directives) is not readable")
            return {}
        return ini.changed(ini.directives(self._reader, table, self._module_data()))

    def _module_data(self) -> list[tuple[int, bytes]]:
        """The data of PHP and its extensions (what the loader or PHP wrote to), as (address, bytes)."""
        owners = [self._php.module]
        folder = _extension_folder([module.path for module in self._core.modules])
        owners += [m for m in self._core.modules if folder and m.path.startswith(folder)]
        found: list[tuple[int, bytes]] = []
        for module in owners:
            for region in self._core.memory.regions():
                if module.start <= region.start < module.end and not region.flags & PF_X:
                    size = min(region.end - region.start, _MOST_DATA)
                    data = self._core.memory.dumped(region.start, size)
                    if data:
                        found.append((region.start, data))
        return found

    def _jit_ranges(self) -> tuple[tuple[int, int], ...]:
        """The machine code opcache's JIT made: the executable part of its shared memory."""
        regions = self._core.memory.regions()
        shared = [r for r in regions if r.path is not None and r.path.startswith(_SHARED)]
        if not any(region.flags & PF_W for region in shared):
            return ()
        return tuple((region.start, region.end) for region in shared if region.flags & PF_X)


def _extension_folder(paths: list[str]) -> str | None:
    """Where the extensions lie: the folder most `….so` files below a `/php/` folder share."""
    folders = [path.rsplit("/", 1)[0] + "/" for path in paths if path.endswith(".so") and "php" in path]
    return max(set(folders), key=folders.count) if folders else None
