"""Who took over parts of the engine: profilers, tracers and debuggers hook themselves into function
pointers of PHP, and are then on the way of every call. A pointer that leads into another module's
code names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from triage.corefile import CoreFile
from triage.corefile.elf import PF_X
from triage.corefile.modules import MappedModule
from triage.model import Hook
from triage.runtimes.php.globals import Php
from triage.runtimes.php.reader import Reader
from triage.symbols import Finder

POINTERS = (
    *("zend_execute_ex", "zend_execute_internal", "zend_compile_file", "zend_compile_string"),
    *("zend_error_cb", "zend_throw_exception_hook", "zend_interrupt_function", "zend_ticks_function"),
)
"""Global function pointers an extension may replace."""
OBSERVER = "zend_observer_fcall_op_array_extension"
_MOST_FRAMES = 200
_MOST_HANDLERS = 16
_NONE = 0xFFFFFFFF  # zend_observer_fcall_op_array_extension is -1 while nobody observes


class Hooks:
    """Finds the hooks of one process."""

    def __init__(self, core: CoreFile, finder: Finder, php: Php, reader: Reader) -> None:
        self._core = core
        self._finder = finder
        self._php = php
        self._reader = reader

    def found(self, frames: Iterable[int]) -> tuple[Hook, ...]:
        """All hooks; observers are looked for in the caches of these execute_data frames."""
        own, places = self._php.module, self._php.addresses
        names = [name for name in POINTERS if name in places]
        targets = zip(names, self._reader.numbers([places[name] for name in names]), strict=True)
        elsewhere = [(name, to) for name, to in targets if to and not own.start <= to < own.end]
        hooks = [hook for name, target in elsewhere if (hook := self._hook(name, target)) is not None]
        return tuple(dict.fromkeys((*hooks, *self._observers(frames))))

    def _hook(self, name: str, target: int) -> Hook | None:
        """A hook for code outside of PHP itself; code that PHP itself brings is no hook."""
        own = self._php.module
        if own.start <= target < own.end:
            return None
        region = self._core.memory.region_at(target)
        if region is None or not region.flags & PF_X:
            return None
        module = self._core.module_at(target)
        if module is None or module.path == own.path:
            return None
        file = self._finder.locate(module).file
        symbol = file.function_at(target - module.base) if file else None
        function = symbol.name if symbol else None  # what replaces a part of the engine is no function of PHP's
        return Hook(name=name, module=module.path, extension=self._extension(module), function=function)

    def _extension(self, module: MappedModule) -> str | None:
        """The extension whose module_entry lies in the file."""
        return next((e.name for e in self._php.extensions if module.start <= e.within < module.end), None)

    def _observers(self, frames: Iterable[int]) -> Iterator[Hook]:
        """Function-call observers (PHP 8.0 and newer), from the run-time caches of called functions."""
        place = self._php.address(OBSERVER)
        slot = self._reader.number(place, 4) if place else None
        if slot is None or slot == _NONE or slot > 1024:
            return
        for frame in islice(frames, _MOST_FRAMES):
            cache = self._reader.pointer(frame, "execute_data", "run_time_cache")
            for target in self._handlers(cache + slot * 8) if cache else ():
                hook = self._hook("function call observer", target)
                if hook is not None:
                    yield hook

    def _handlers(self, slot: int) -> Iterator[int]:
        """Code pointers at a cache slot: in it (8.2 and newer), or in the list it points to (8.0, 8.1)."""
        first = self._reader.number(slot)
        if not first:
            return
        yield first
        if self._reader.sound(first):
            raw = self._reader.memory.read(first, _MOST_HANDLERS * 8) or b""
            yield from (int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw), 8))
