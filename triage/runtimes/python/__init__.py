"""CPython in a core: found by `_PyRuntime`, read with its own offsets (3.13 and newer) or measured tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from triage import redact
from triage.corefile import CoreFile
from triage.model import Runtime, ScriptFrame
from triage.runtimes.protocol import Inspection, Reading
from triage.runtimes.python import facts
from triage.runtimes.python.find import Python, find_python
from triage.runtimes.python.frames import StackReader, Walk
from triage.runtimes.python.modules import Imported, NativeNames, imported, modules
from triage.runtimes.python.objects import Objects
from triage.runtimes.python.threads import PyThread, lock, names, threads
from triage.symbols import Finder
from triage.symbols.environment import environment
from triage.symbols.parts import parts

_LOOP = "_PyEval_EvalFrameDefault"
LOOPS = frozenset({_LOOP, f"{_LOOP}.cold"})
_OTHER_FRAMES = 200
_NO_FRAMES = Walk((), ())


def detect(core: CoreFile, finder: Finder, *, script_frames: int = 100_000) -> PythonProcess | str | None:
    """CPython in this core, `None` when it is no Python process, or a sentence why Python cannot be read."""
    found = find_python(core, finder)
    if not isinstance(found, Python):
        return found
    return PythonProcess(core, finder, found, script_frames=script_frames)


class PythonProcess:
    """One Python process's state. `read()` never raises for what the core holds or lacks."""

    name = "python"

    def __init__(self, core: CoreFile, finder: Finder, python: Python, *, script_frames: int) -> None:
        self._core = core
        self._finder = finder
        self._python = python
        self._limit = script_frames
        self._objects = Objects(core.memory, python.layout)
        self._stack = StackReader(self._objects)

    def inspections(self) -> Mapping[str, Inspection]:
        """No questions of its own yet: a debugging session has `python-bt` and `python-why`."""
        return {}

    def read(self) -> Reading:
        """Stacks, names and facts; whatever cannot be read is missing and named in the warnings."""
        walk, doubts = self._own()
        return Reading(
            runtime=self._runtime(walk),
            frames=walk.frames,
            depth=len(walk.frames),
            names=NativeNames(self._objects, self._imported.functions, self._loop_parts()),
            loops=LOOPS,
            others=self._others(),
            thread_names=self._thread_names(),
            warnings=tuple(dict.fromkeys((*self._python.warnings, *doubts, *walk.warnings))),
        )

    def _loop_parts(self) -> dict[int, str]:
        """Parts of the loop that lie elsewhere and have no name, so that frames in them count as the loop's."""
        module = self._python.module
        file = self._finder.locate(module).file
        if file is None or file.has_symtab:
            return {}
        return {start + module.base: _LOOP for start in parts(file, _LOOP)}

    def stack(self) -> Walk:
        """The Python stack of the crashed thread alone."""
        return self._own()[0]

    @cached_property
    def _threads(self) -> tuple[PyThread, ...]:
        return threads(self._core, self._objects, self._python.interpreter)

    @cached_property
    def _modules(self) -> dict[str, int]:
        return modules(self._objects, self._python.interpreter)

    @cached_property
    def _imported(self) -> Imported:
        return imported(self._objects, self._modules, self._python.version)

    @cached_property
    def _crashed(self) -> list[PyThread]:
        """The thread states of the crashed thread: one for each interpreter it works in."""
        return [thread for thread in self._threads if thread.native == self._core.notes.threads[0].id]

    def _own(self) -> tuple[Walk, tuple[str, ...]]:
        """The crashed thread's stack, and what is doubtful about it."""
        walks = [self._stack.walk(thread.address, limit=self._limit) for thread in self._crashed]
        if not walks:
            return _NO_FRAMES, ()  # a thread that an extension made and that never entered Python
        busy = [walk for walk in walks if walk.frames]
        doubts: tuple[str, ...] = ()
        if len(busy) > 1:
            doubts = (f"the crashed thread runs Python in {len(busy)} interpreters; the stack of one is shown",)
        return (busy or walks)[0], doubts

    def _others(self) -> dict[int, tuple[ScriptFrame, ...]]:
        crashed = {thread.address for thread in self._crashed}
        return {
            thread.native: self._stack.walk(thread.address, limit=_OTHER_FRAMES).frames
            for thread in self._threads
            if thread.native is not None and thread.address not in crashed
        }

    def _thread_names(self) -> dict[int, str]:
        known = names(self._objects, self._modules)
        return {
            thread.native: known[thread.ident]
            for thread in self._threads
            if thread.native is not None and thread.ident in known
        }

    def _runtime(self, walk: Walk) -> Runtime:
        objects, python = self._objects, self._python
        thread = self._crashed[0].address if self._crashed else None
        main = next((frame.file for frame in reversed(walk.frames) if frame.file is not None), None)
        return Runtime(
            name=self.name,
            version=python.version,
            debug=facts.is_debug(objects, python.interpreter),
            zts=objects.free_threaded,
            script=facts.script(objects, python.interpreter, self._modules) or main,
            extensions=self._imported.extensions,
            extension_files=self._imported.files,
            options=facts.options(objects, python.interpreter),
            exception=facts.raised(objects, self._stack, thread) if thread else None,
            last_error=facts.handled(objects, self._stack, thread) if thread else None,
            state=self._state(),
            environment=redact.environment(environment(self._core, self._finder)),
        )

    def _state(self) -> dict[str, str]:
        """Who holds the GIL, what the collector does, how many threads there are."""
        found = {"threads": f"{len(self._threads)} run Python, {len(self._core.notes.threads)} in all"}
        held = lock(self._objects, self._python.runtime, self._python.interpreter)
        if held is not None:
            found["GIL"] = "not in use (free-threaded)" if held.free_threaded else self._holder(held.holder)
        collecting = facts.collector(self._objects, self._python.runtime, self._python.interpreter)
        if collecting is not None:
            found["garbage collector"] = collecting
        return found

    def _holder(self, state: int | None) -> str:
        if state is None:
            return "held by no thread"
        thread = next((thread for thread in self._threads if thread.address == state), None)
        if thread is None or thread.native is None:
            return "held by a thread that is not known"
        name = self._thread_names().get(thread.native)
        which = f"thread {thread.native}" + (f" ({name})" if name else "")
        return f"held by {which}" + (", the one that crashed" if thread in self._crashed else "")
