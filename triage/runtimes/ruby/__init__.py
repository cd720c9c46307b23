"""Ruby in a core: found through its virtual machine, read with measured structure tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from triage import redact
from triage.corefile import CoreFile
from triage.model import Runtime
from triage.runtimes.protocol import Inspection, Reading
from triage.runtimes.ruby.find import Ruby, find_ruby
from triage.runtimes.ruby.frames import StackReader, Walk
from triage.runtimes.ruby.values import Values
from triage.symbols import Finder
from triage.symbols.environment import environment

_LOOP = "vm_exec_core"
_ENOUGH = 3


def detect(core: CoreFile, finder: Finder, *, script_frames: int = 100_000) -> RubyProcess | str | None:
    """Ruby in this core, `None` when it is no Ruby process, or a sentence why Ruby cannot be read."""
    found = find_ruby(core, finder)
    if not isinstance(found, Ruby):
        return found
    return RubyProcess(core, finder, found, script_frames=script_frames)


class RubyProcess:
    """One Ruby process's state. `read()` never raises for what the core holds or lacks."""

    name = "ruby"

    def __init__(self, core: CoreFile, finder: Finder, ruby: Ruby, *, script_frames: int) -> None:
        self._core = core
        self._finder = finder
        self._ruby = ruby
        self._limit = script_frames
        self._values = Values(core.memory, ruby.layout)
        symbols = self._values.find_symbols(ruby.words)
        if symbols is not None:
            self._values.use_symbols(symbols)

    def inspections(self) -> Mapping[str, Inspection]:
        """No questions of its own: a debugging session has `ruby-bt` and `ruby-why`."""
        return {}

    def read(self) -> Reading:
        """Stack and facts; whatever cannot be read is missing and named in the warnings."""
        walk = self.stack()
        start, name = self._loop(walk)
        main = next((frame.file for frame in reversed(walk.frames) if frame.file is not None), None)
        return Reading(
            runtime=Runtime(
                name=self.name,
                version=self._ruby.version,
                script=main,
                extension_files=self._extensions(),
                extensions=dict.fromkeys(self._extensions()),
                environment=redact.environment(environment(self._core, self._finder)),
            ),
            frames=walk.frames,
            depth=len(walk.frames),
            names={start: _LOOP} if start is not None and name is None else {},
            loops=frozenset({name or _LOOP}),
            warnings=walk.warnings,
        )

    def stack(self) -> Walk:
        """The Ruby stack of the crashed thread; empty for a thread that runs none."""
        if self._ruby.context is None:
            return Walk((), ())
        return StackReader(self._values).walk(self._ruby.context, limit=self._limit)

    def _loop(self, walk: Walk) -> tuple[int | None, str | None]:
        """`(start, name)` of the native function that runs Ruby code; the name is `None` where no symbol has it.

        Compiled code is a row of addresses into that function, one for each instruction, so it tells by itself.
        """
        file = self._finder.locate(self._ruby.module).file
        if file is None:
            return None, None
        base = self._ruby.module.base
        handlers = StackReader(self._values).handlers(frame.address for frame in walk.frames)
        starts = Counter(start for handler in handlers if (start := file.function_start(handler - base)) is not None)
        for start, count in starts.most_common(1):
            symbol = file.function_at(start)
            if count >= _ENOUGH:
                return start + base, symbol.name if symbol is not None else None
        return None, None

    def _extensions(self) -> dict[str, str]:
        """Libraries that Ruby loaded as parts of itself: those in its own folders, by their path within."""
        found = {}
        for module in self._core.modules:
            folder, _, name = module.path.rpartition("/ruby/")
            if folder and name.endswith(".so"):
                found[name.removesuffix(".so").split("linux-gnu/")[-1]] = module.path
        return found
