"""PHP in a core: found by its global structures, read with measured structure tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from triage.corefile import CoreFile
from triage.corefile.elf import PF_X
from triage.corefile.protocol import Region
from triage.corefile.twins import Asked, Twins
from triage.model import HeapCheck, HeapPlace, Hook, Opcache, Role, Runtime, ScriptFrame
from triage.model.record import changed
from triage.runtimes.php import facts, ini, modules, variables
from triage.runtimes.php.builds import Builds, builds_of
from triage.runtimes.php.callbacks import Callbacks
from triage.runtimes.php.codenames import code_names
from triage.runtimes.php.defaults import KnownDefaults
from triage.runtimes.php.fibers import FoundFiber, fibers, stacks
from triage.runtimes.php.fpm import worker
from triage.runtimes.php.frames import Frameless, StackReader, Walk
from triage.runtimes.php.globals import Php, find_php
from triage.runtimes.php.heap import (
    KnownPlaces,
    Shape,
    Walked,
    calibrate,
    check_heap,
    check_objects,
    check_roots,
    find_roots,
    whereis,
)
from triage.runtimes.php.hooks import Hooks
from triage.runtimes.php.inspector import Inspector
from triage.runtimes.php.moduledata import ModuleData
from triage.runtimes.php.naming import constant_expression
from triage.runtimes.php.opcache import KnownPlace, caches, opcache, shared_regions
from triage.runtimes.php.panic import last_words
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.roots.loop import loop_start
from triage.runtimes.php.unwind import unwinding
from triage.runtimes.php.vmstack import Page, VmStack
from triage.runtimes.protocol import Inspection, Reading
from triage.symbols import Finder
from triage.symbols.environment import environment

T = TypeVar("T")
# The second runs one instruction for extensions that bring a loop of their own (pcov, some debuggers).
LOOPS = frozenset({"execute_ex", "zend_vm_call_opcode_handler"})
# Where GCC builds keep the running execute_data (a global register variable).
LOOP_REGISTERS = {"x86_64": "r14", "aarch64": "x27"}
_FIBER_FRAMES = 200
_OTHER_FRAMES = 200


def detect(
    core: CoreFile, finder: Finder, *, script_frames: int = 100_000, values: bool = False
) -> PhpProcess | str | None:
    """PHP in this core, `None` when it is no PHP process, or a sentence why PHP cannot be read.

    `values` adds previews of arguments, secrets hidden; without it their types are read only.
    """
    found = find_php(core, finder)
    if not isinstance(found, Php):
        return found
    return PhpProcess(core, finder, found, script_frames=script_frames, values=values)


class PhpProcess:
    """One PHP process's state. `read()` never raises for what the core holds or lacks."""

    name = "php"

    def __init__(self, core: CoreFile, finder: Finder, php: Php, *, script_frames: int, values: bool) -> None:
        self._core = core
        self._finder = finder
        self._php = php
        self._reader = Reader(core.memory, php.layout)
        self._limit = script_frames
        self._values = values
        self._warnings: list[str] = list(php.warnings)
        self._loop = php.address("execute_ex") or self._unnamed_loop()

    def read(self, *, heap: bool = True) -> Reading:
        """Stack, names and facts; whatever cannot be read is missing and named in the warnings.

        Without `heap` the walk through PHP's memory is left out, the one part that grows with it.
        """
        jit = self._jit_ranges()
        names = self._names()
        found = self._fibers()
        walker = self._walker(jit, found)
        walk = self._walk(walker)
        own, doubts = stacks(self._reader, found, walker, self._executor("current_execute_data"), limit=_FIBER_FRAMES)
        hooks = self._hooks(walk)
        loops = [hook.module for hook in hooks if hook.name == "zend_execute_ex"]
        return Reading(
            runtime=changed(
                self._runtime(walk, jit),
                fibers=own,
                hooks=hooks,
                callbacks=self._recall(Asked((self._kind, "callbacks")), PhpProcess._callbacks),
                opcache=self._opcache(),
                heap=self._heap() if heap else None,
                worker=worker(self._core, self._shared, at_crash=self._at_crash),
                environment=self._recall(Asked((self._kind, "environment")), PhpProcess._environment),
            ),
            frames=walk.frames,
            depth=walk.depth,
            names=names,
            loops=LOOPS,
            code=jit,
            unwinding=unwinding(self._core, self._finder, self._php, self._reader, jit, loops),
            others=self._others(jit),
            heap_place=self.heap_place,
            loop_registers=LOOP_REGISTERS,
            last_words=last_words(self._core, self._finder, self._php),
            warnings=tuple(dict.fromkeys((*self._warnings, *walk.warnings, *doubts))),
        )

    def _callbacks(self) -> tuple[str, ...]:
        return Callbacks(self._reader, self._php).found()

    def _environment(self) -> dict[str, str]:
        return variables.environment(environment(self._core, self._finder))

    def _recall(self, asked: Asked, work: Callable[[PhpProcess], T]) -> T:
        """What `work` finds in this process, or found in another one whose memory says the same."""
        answer, warnings = self._finder.kept(Twins).get(
            self._core, asked, lambda core: self._over(core)._with_warnings(work)
        )
        self._warnings.extend(warnings)
        return answer

    @cached_property
    def _kind(self) -> int:
        """The number of processes alike: the same files at the same addresses, the same extensions."""
        return self._finder.kept(Twins).kind(self._core.modules, self._php.extensions)

    @cached_property
    def _alike(self) -> int:
        """The same wherever these files lie."""
        twins = self._finder.kept(Twins)
        return twins.kind(twins.files(self._core).same, self._php.alike)

    def _asked(self, question: str, *, gap: int = 0) -> Asked:
        """Among processes whose executor lies at the same place, which is one in PHP's own file but in ZTS builds."""
        executor, module = self._php.address("executor_globals"), self._php.module
        twin = self._kind, question, executor
        if executor is None or not module.start <= executor < module.end:
            return Asked(twin, gap=gap)
        return Asked(twin, (self._alike, question, executor - module.base), gap)

    def _over(self, core: CoreFile) -> PhpProcess:
        """This process, read through another view of its core."""
        if core is self._core:
            return self
        return PhpProcess(core, self._finder, self._php, script_frames=self._limit, values=self._values)

    def _with_warnings(self, work: Callable[[PhpProcess], T]) -> tuple[T, tuple[str, ...]]:
        """What `work` finds, and the warnings it adds."""
        before = len(self._warnings)
        answer = work(self)
        added = tuple(self._warnings[before:])
        del self._warnings[before:]
        return answer, added

    def inspections(self) -> Mapping[str, Inspection]:
        """What a debugger's user may ask of PHP's memory."""
        inspector = Inspector(self._core, self._reader, self.stack, self.directives, self.heap_place, self._pages)
        return inspector.inspections()

    def _pages(self) -> tuple[Page, ...]:
        return VmStack(self._reader, self._php.address("executor_globals"), fibers=False).pages

    def _others(self, jit: tuple[tuple[int, int], ...]) -> dict[int, tuple[ScriptFrame, ...]]:
        """The PHP stacks of the other threads, in a build where each has one."""
        found: dict[int, tuple[ScriptFrame, ...]] = {}
        for thread in self._php.threads:
            php = self._php.for_thread(thread)
            if php is None or thread == self._core.notes.threads[0].id:
                continue
            executor = php.address("executor_globals") or 0
            current = self._reader.field(executor, "executor_globals", "current_execute_data")
            stack = VmStack(self._reader, executor, fibers=True)
            walker = StackReader(
                self._reader, opline_before_exception=None, jit=jit, stack=stack, values=self._values
            )
            found[thread] = walker.walk(current, limit=_OTHER_FRAMES).frames
        return found

    def configuration(self, *, at: float) -> Runtime:
        """How it is set up and which worker it is, no more: for processes that go on meanwhile.

        `at` is the present time in seconds since 1970.
        """
        return replace(self._configured(), worker=worker(self._core, self._shared, at_crash=at))

    def _configured(self) -> Runtime:
        reader, php = self._reader, self._php
        return Runtime(
            name=self.name,
            version=php.version,
            sapi=facts.sapi(reader, php),
            debug=php.debug,
            zts=php.zts,
            script=facts.script(reader, php),
            extensions={extension.name: extension.version for extension in php.extensions},
            options=self._recall(self._asked("options", gap=128), PhpProcess._options),
            extension_files=modules.files(self._core, php, self._finder.kept(Twins), self._alike),
        )

    def stack(self) -> Walk:
        """The PHP stack alone."""
        return self._walk(self._walker(self._jit_ranges(), self._fibers()))

    def _executor(self, field: str) -> int | None:
        at = self._php.address("executor_globals")
        return self._reader.field(at, "executor_globals", field) if at else None

    def _fibers(self) -> tuple[FoundFiber, ...]:
        at = self._php.address("executor_globals")
        return fibers(self._reader, at) if at else ()

    def _walker(self, jit: tuple[tuple[int, int], ...], found: tuple[FoundFiber, ...]) -> StackReader:
        executor = self._php.address("executor_globals")
        return StackReader(
            self._reader,
            opline_before_exception=self._executor("opline_before_exception"),
            jit=jit,
            frameless=self._frameless(),
            registers=self._registers(),
            fibers={fiber.bottom: fiber.id for fiber in found if fiber.bottom is not None},
            stack=VmStack(self._reader, executor, fibers=bool(found)),
            constant=constant_expression(self._reader, executor) if executor else None,
            values=self._values,
        )

    def _walk(self, walker: StackReader) -> Walk:
        if self._php.address("executor_globals") is None:
            what = "the crashed thread's record was not found" if self._php.zts else "the executor was not found"
            return Walk((), 0, (f"the PHP stack was not read: {what}",))
        return walker.walk(self._executor("current_execute_data"), limit=self._limit)

    def _unnamed_loop(self) -> int | None:
        file = self._finder.locate(self._php.module).file
        current = self._executor("current_execute_data")
        return loop_start(self._reader, file, self._php.module.base, current) if file is not None else None

    def _registers(self) -> dict[int, int]:
        """The frame and instruction the VM loop had in registers (GCC, x86-64), if it was running itself."""
        held = self._core.notes.threads[0].registers
        pc, loop = held.get("rip"), self._loop
        module = self._core.module_at(pc) if pc is not None else None
        if pc is None or loop is None or module is None:
            return {}
        file = self._finder.locate(module).file
        start = file.function_start(pc - module.base) if file else None
        if start is None or start + module.base != loop:
            return {}
        return {held["r14"]: held["r15"]}

    def _hooks(self, walk: Walk) -> tuple[Hook, ...]:
        found = Hooks(self._core, self._finder, self._php, self._reader)
        return found.found(frame.address for frame in walk.frames if frame.role is not Role.INTERNAL)

    @cached_property
    def _shape(self) -> Shape | str:
        """The heap, found from blocks PHP surely made; the first that leads to a sound one."""
        reasons = []
        for field in ("vm_stack", "current_execute_data"):
            block = self._executor(field)
            shape = calibrate(self._core.memory, block) if block else "PHP has no block in use"
            if isinstance(shape, Shape):
                return shape
            reasons.append(shape)
        return reasons[0]

    @cached_property
    def _walked(self) -> tuple[HeapCheck, Walked | None]:
        return check_heap(self._reader, self._shape, self._interrupted())

    def heap_place(self, address: int) -> HeapPlace | None:
        """What PHP's allocator knows of an address."""
        _, walked = self._walked
        return whereis(walked, address) if walked is not None else None

    def _heap(self) -> HeapCheck:
        found, walked = self._walked
        executor = self._php.address("executor_globals")
        if walked is None or executor is None:
            return found
        broken = (
            *check_objects(self._reader, executor, walked, lambda at: self._core.module_at(at) is not None),
            *check_roots(self._reader, self._roots(), walked),
        )
        if not broken:
            return found
        return replace(found, state="damaged", faults=(*found.faults, *broken))

    def _roots(self) -> list[int]:
        own = self._php.module
        known = self._finder.kept(KnownPlaces)
        return find_roots(self._reader, lambda: self._data.of(None), known, own.build_id, own.base)

    def _interrupted(self) -> tuple[int, ...]:
        """The registers, when the process was stopped by another one, at any point of its work."""
        signal, process = self._core.notes.signal, self._core.notes.process
        if signal is None or signal.sender is None or (process and signal.sender == process.pid):
            return ()
        return tuple(self._core.notes.threads[0].registers.values())

    def _opcache(self) -> Opcache | None:
        found = opcache(self._core, self._shared, self._finder.kept(KnownPlace), at_crash=self._at_crash)
        if found is not None and not found.dumped:
            self._warnings.append(
                "opcache's shared memory is not in the core: names of functions, files and ini directives that lie "
                "there cannot be read. The kernel left it out: write 0x33 to /proc/PID/coredump_filter of php "
                "(systemd: CoredumpFilter=default) and the next core has it."
            )
        return found

    def _frameless(self) -> Frameless | None:
        """The table of functions that PHP 8.4 and newer call without a frame."""
        places = [self._php.address(f"zend_flf_{name}") for name in ("functions", "handlers")]
        functions, handlers = (self._reader.number(place) if place else None for place in places)
        return Frameless(functions, handlers) if functions and handlers else None

    def _names(self) -> Mapping[int, str]:
        return code_names(self._core, self._finder, self._php, self._builds, self._loop, self._asked)

    @cached_property
    def _builds(self) -> Builds | None:
        return builds_of(self._core, self._php, self._finder.kept(Twins))

    def _runtime(self, walk: Walk, jit: tuple[tuple[int, int], ...]) -> Runtime:
        reader, php = self._reader, self._php
        main = walk.frames[-1].file if walk.frames else None
        own = self._configured()
        return changed(
            own,
            script=own.script or main,
            request=facts.request(reader, php),
            memory=facts.memory(reader, php, self._shape),
            last_error=facts.last_error(reader, php),
            exception=facts.exception(reader, php),
            jit=bool(jit),
            mismatched=modules.mismatched(php, self._finder.kept(Twins), self._alike),
        )

    @cached_property
    def _data(self) -> ModuleData:
        return ModuleData(self._core, self._php, self._reader)

    @cached_property
    def _at_crash(self) -> float:
        """When the kernel finished the core, in seconds since 1970."""
        return self._core.path.stat().st_mtime

    def directives(self) -> list[ini.Directive]:
        """All ini directives; empty when their table is not readable."""
        table = self._executor("ini_directives")
        if not table or self._builds is None:
            return self._read_directives()
        known = self._finder.kept(KnownDefaults)
        return known.directives(self._core.memory, self._reader, table, self._builds, self._read_directives)

    def _read_directives(self) -> list[ini.Directive]:
        table = self._executor("ini_directives")
        return list(ini.directives(self._reader, table, self._data.of)) if table else []

    def _options(self) -> dict[str, str | None]:
        table = self._executor("ini_directives")
        found: list[ini.Directive] | None = None
        if table and self._builds is not None:
            known = self._finder.kept(KnownDefaults)
            found = known.changed(self._core.memory, self._reader, table, self._builds)
        if found is None:
            found = self.directives()
            if not found:
                self._warnings.append("the ini directives were not read: EG(ini_directives) is not readable")
        return ini.changed(found)

    def _jit_ranges(self) -> tuple[tuple[int, int], ...]:
        """The machine code opcache's JIT made: the executable part of its shared memory."""
        if not caches(self._shared):
            return ()
        return tuple((region.start, region.end) for region in self._shared if region.flags & PF_X)

    @cached_property
    def _shared(self) -> list[Region]:
        return shared_regions(self._core, self._finder.kept(Twins))
