"""From a core file to a crash record, stage by stage.

    core file → corefile → runtimes → gdb → merge → diagnose → signature

A stage that fails adds a warning, and the next works on what there is: a crash is never lost
because one stage failed.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
import traceback
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from triage import clock, redact
from triage.cluster.signature import signature_of
from triage.config import Settings, cache_folder
from triage.corefile import CoreFile, notes, open_core
from triage.corefile.fault import refused
from triage.corefile.instruction import decode, loaded_from
from triage.corefile.sources import Opened, Scratch, Trust, opened
from triage.corefile.sources.journal import Journal
from triage.corefile.sources.unpack import Bounds
from triage.corefile.twins import Twins
from triage.diagnose import Case, diagnose
from triage.errors import InputError
from triage.gdb import sandbox
from triage.gdb.frames import Native
from triage.gdb.lanes import Lanes
from triage.gdb.locate import Gdb, find_gdb
from triage.gdb.session import GdbFailed
from triage.gdb.sessions import Sessions
from triage.merge import Merged, Names, merge
from triage.model import (
    Crash,
    Failure,
    Fault,
    Finding,
    Frame,
    Instruction,
    Module,
    NativeFrame,
    NativeThread,
    Outcome,
    ScriptFrame,
    Signature,
    Status,
    Thread,
)
from triage.model.record import changed
from triage.runtimes import detect, hint
from triage.runtimes.protocol import Reading, nowhere
from triage.symbols import Finder
from triage.symbols.abort import abort_message
from triage.symbols.debuginfod import Debuginfod
from triage.symbols.elffile import ElfFile
from triage.symbols.examined import examined
from triage.symbols.flips import flips
from triage.symbols.traits import tell
from triage.text import size
from triage.wire import crash_from_json

T = TypeVar("T")
_RECORDS = 50_000


def bounds_of(settings: Settings) -> Bounds:
    """How far a compressed core is unpacked."""
    return Bounds(settings.limits.largest_core, settings.limits.disk_reserve)


def finder_of(source: Opened, settings: Settings) -> Finder | None:
    """What finds the files that the input brought along, before all others; `None` where it brought none."""
    if source.sysroot is None or source.debug_dir is None:
        return None
    return Finder(source.sysroot, (source.debug_dir, *settings.debug_dirs))


class Pipeline:
    """Triages cores one after another with GDB kept warm. Use as a context manager.

    `gdb` is one that was found before; else one is looked for.

    Raises:
        EnvironmentLacks: on entry, when this machine has no usable GDB.
    """

    def __init__(self, settings: Settings, gdb: Gdb | None = None) -> None:
        self._settings = settings
        self._finder = Finder(settings.sysroot, settings.debug_dirs, Debuginfod(settings.debuginfod))
        self.gdb: Gdb = gdb or find_gdb(settings.gdb)
        sandbox.isolation(None)  # where the one that was asked for does not work, say so before the first core
        self._sessions = Sessions(self.gdb, settings.limits)
        self._scratch = Scratch(cache_folder())
        self._bounds = bounds_of(settings)
        self._journal = Journal()
        self._lanes = Lanes(self._sessions, self._finder, settings.limits, reuse=settings.reuse)
        # A core gives records by the ten thousand, hardly any of them garbage: the collector may look less often.
        self._hurried = gc.get_threshold()
        gc.set_threshold(max(_RECORDS, self._hurried[0]), *self._hurried[1:])

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the GDBs and remove what was unpacked."""
        gc.set_threshold(*self._hurried)
        self._sessions.close()
        self._scratch.close()

    @property
    def lanes(self) -> Mapping[str, int]:
        """By which lane the native stacks came.

        `reused`, `composed` (of calls GDB has seen in other stacks), `named` (by GDB, of addresses alone), `asked`
        (GDB, which opened the core), `deferred: WHY` (GDB every time).
        """
        return self._lanes.tally

    def triage(self, path: Path, trust: Trust | None = None) -> Outcome:
        """Triage the core in one input. Never raises for what the file holds: a refusal is an outcome too.

        `trust` says whose files are read in folders of everybody; without it, everybody's are.
        """
        whose = trust or Trust(everywhere=True)
        try:
            with (
                opened(path, self._scratch, whose, self._bounds, self._journal) as source,
                open_core(source.file) as core,
            ):
                finder, lanes = self._finding(source)
                crash = _Examination(core, path, source, self._settings, finder, lanes, self.gdb).run()
                if source.record is not None:
                    crash = _recorded(source.record, crash)
        except InputError as error:
            message = error.message + (f". {error.help}" if error.help else "")
            return Outcome(core=str(path), status=Status.ERROR, failure=Failure(code=error.code, message=message))
        return Outcome(core=str(path), status=crash.status, crash=crash)

    def _finding(self, source: Opened) -> tuple[Finder, Lanes]:
        """What finds files and walks stacks; where the input brought its files along, they come first."""
        finder = finder_of(source, self._settings)
        if finder is None:
            return self._finder, self._lanes
        return finder, Lanes(self._sessions, finder, self._settings.limits, reuse=self._settings.reuse)

    @property
    def finder(self) -> Finder:
        """Finds the files behind modules, as the settings say."""
        return self._finder


def _recorded(record: str, own: Crash) -> Crash:
    """The crash as it was read where the pack was made: the pack itself has no memory to read it from."""
    try:
        told = crash_from_json(json.loads(record))
    except ValueError:
        return own
    remark = "this pack has no memory of the request: shown is what was read where it was made"
    return changed(told, core=own.core, origin=own.origin, cluster=None, warnings=(remark, *told.warnings))


class _Examination:
    """One core on its way through the rooms."""

    def __init__(
        self,
        core: CoreFile,
        path: Path,
        source: Opened,
        settings: Settings,
        finder: Finder,
        lanes: Lanes,
        gdb: Gdb,
    ) -> None:
        self._core = core
        self._path = path
        self._source = source
        self._limits = settings.limits
        self._values = settings.values
        self._finder = finder
        self._lanes = lanes
        self._gdb = gdb
        self._watch = clock.Stopwatch()
        self._warnings: list[str] = []
        self._partial = False

    def run(self) -> Crash:
        core = self._core
        core.memory.use_files(self._finder.backing(core.modules))
        self._look_over()
        modules: tuple[Module, ...] = self._stage("modules", self._modules, ())
        reading: Reading | None = self._stage("runtime", self._runtime, None)
        native: Native = self._stage("gdb", lambda: self._native(reading), None) or self._from_notes()
        merged: tuple[Thread, ...] = self._stage("merge", lambda: self._merge(native.threads, reading), ())
        merged = self._stage("traits", lambda: tuple(map(self._told, merged)), merged)
        crashed = next((thread for thread in merged if thread.crashed), None)
        nothing: tuple[Instruction | None, Fault | None] = (None, None)
        at = self._stage("fault", self._fault, nothing)
        findings: tuple[Finding, ...] = self._stage(
            "diagnose", lambda: self._diagnose(crashed, reading, modules, at), ()
        )
        said = core.arguments or self._source.origin.arguments
        arguments: tuple[str, ...] = self._stage("arguments", lambda: redact.command_line(said), ())
        executable, process = core.executable, core.notes.process
        origin = self._source.origin
        if origin.arguments:
            origin = changed(origin, arguments=())
        crash = Crash(
            id=core.id,
            core=str(self._path),
            status=Status.PARTIAL if self._partial else Status.OK,
            time=origin.time,
            host=origin.host or platform.node() or None,
            pid=process.pid if process else core.notes.threads[0].id,
            executable=executable.path if executable else None,
            build_id=executable.build_id if executable else None,
            arguments=arguments,
            signal=core.notes.signal,
            runtime=reading.runtime if reading else None,
            threads=merged,
            modules=modules,
            findings=findings,
            registers=native.registers,
            instruction=native.instruction,
            fault=at[1],
            origin=origin,
            gdb=self._gdb.version_text,
            isolation=self._lanes.isolation,
        )
        signature: Signature | None = self._stage("sign", lambda: signature_of(crash), None)
        return changed(
            crash,
            signature=signature,
            status=Status.PARTIAL if self._partial else Status.OK,
            warnings=tuple(dict.fromkeys(self._warnings)),
            timing=self._watch.laps,
        )

    def _stage(self, name: str, work: Callable[[], T], otherwise: T) -> T:
        """Run one stage. The broad net that keeps a defect in one stage from losing the crash."""
        try:
            return self._watch.lap(name, work)
        except Exception as error:  # noqa: BLE001 — see above; it is loud: a warning and the traceback
            self._warn(f"the stage {name!r} failed: {type(error).__name__}: {error}. This is a defect in triage.")
            traceback.print_exc(file=sys.stderr)
            return otherwise

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        self._partial = True

    def _look_over(self) -> None:
        """Say what is wrong with the file itself."""
        core = self._core
        for remark in self._source.remarks:
            self._warn(remark)
        if core.truncated:
            self._warn(
                f"the core is cut off: {size(core.size)} of {size(core.expected_size)} are there; what lay in the "
                "missing part is unknown. Look for a full disk or a size limit at the time of the crash."
            )
        for note in core.notes.broken:
            self._warn(f"the core's note {note} is damaged")
        if core.executable is None:
            self._warn("the program's own file is not in the core's list of mapped files")

    def _modules(self) -> tuple[Module, ...]:
        core, finder = self._core, self._finder
        modules, wrong, doubtful = finder.kept(Twins).same(core, "modules", lambda: examined(core, finder))
        for warning in wrong:
            self._warn(warning)
        self._warnings.extend(doubtful)
        return modules

    def _runtime(self) -> Reading | None:
        found = detect(self._core, self._finder, script_frames=self._limits.script_frames, values=self._values)
        if isinstance(found, str):
            self._warn(found)
            return None
        if found is None:
            looks = hint(self._core)
            self._warnings.extend([looks] if looks else [])
            return None
        reading = found.read()
        self._warnings.extend(reading.hints)  # nothing of the core is missing for these
        for warning in reading.warnings:
            self._warn(warning)
        return reading

    def _native(self, reading: Reading | None) -> Native:
        core = self._core
        rules = reading.unwinding if reading is not None else None
        register = reading.loop_registers.get(core.machine or "") if reading is not None else None
        try:
            found = self._lanes.answer(core, rules, register)
        except GdbFailed as error:
            self._warn(f"{error.message}; only the innermost native frame is known")
            return self._from_notes()
        if found.reduced is not None:
            self._warn(f"at first {found.reduced}; asked again for the crashed thread's innermost frames only")
        for thread in found.threads:
            if thread.crashed and thread.stop:
                self._warnings.append(f"the native stack was followed as far as possible: {thread.stop}")
        if found.total > len(found.threads):
            self._warnings.append(f"{found.total} threads; {len(found.threads)} are shown")
        return found

    def _from_notes(self) -> Native:
        """Threads as the notes tell: where each one stood, no callers."""
        core = self._core
        pc_name, sp_name = notes.PC_SP.get(core.machine or "", ("", ""))
        threads = []
        for at, state in enumerate(core.notes.threads):
            pc = state.registers.get(pc_name)
            frames: tuple[NativeFrame, ...] = ()
            if pc is not None:
                module = core.module_at(pc)
                frames = (
                    NativeFrame(
                        level=0,
                        pc=pc,
                        sp=state.registers.get(sp_name),
                        module=module.path if module else None,
                        offset=pc - module.base if module else None,
                    ),
                )
            threads.append(NativeThread(id=state.id, name=None, crashed=at == 0, frames=frames, depth=len(frames)))
        return Native(tuple(threads), dict(core.notes.threads[0].registers), None, len(threads))

    def _merge(self, threads: tuple[NativeThread, ...], reading: Reading | None) -> tuple[Thread, ...]:
        names = Names()
        if reading is not None:
            names = Names(loops=reading.loops, code=reading.code, functions=reading.names)
        merged = []
        for thread in threads:
            script: tuple[ScriptFrame, ...] = ()
            if reading is not None:
                script = reading.frames if thread.crashed else reading.others.get(thread.id, ())
            woven = merge(thread, script, names)
            if thread.crashed:
                self._warnings.extend(woven.warnings)
            name = reading.thread_names.get(thread.id) if reading is not None else None
            merged.append(_thread(thread, woven, name))
        return tuple(merged)

    def _told(self, thread: Thread) -> Thread:
        """The crashed thread with what tells its functions that have no name."""
        if not thread.crashed:
            return thread
        modules = dict(zip(map(itemgetter(0), self._core.modules), self._core.modules, strict=True))

        def file_of(path: str) -> ElfFile | None:
            return self._finder.locate(modules[path]).file if path in modules else None

        return tell(thread, file_of)

    def _decoded(self, pc: int | None, registers: Mapping[str, int]) -> Instruction | None:
        core = self._core
        return decode(core.memory, core.machine, registers, pc) if pc is not None else None

    def _fault(self) -> tuple[Instruction | None, Fault | None]:
        """The instruction that was refused something, and what."""
        core = self._core
        registers = core.notes.threads[0].registers
        pc_name, _ = notes.PC_SP.get(core.machine or "", ("", ""))
        pc = registers.get(pc_name)
        instruction = self._decoded(pc, registers)
        fault = refused(core.notes.signal, instruction, registers, core.machine, core.memory)
        if fault is None or fault.operand is None or fault.operand.base is None or pc is None:
            return instruction, fault
        start = self._function_start(pc)
        if start is None:
            return instruction, fault
        load = loaded_from(core.memory, core.machine, registers, start, pc, fault.operand.base)
        return instruction, changed(fault, load=load)

    def _function_start(self, pc: int) -> int | None:
        module = self._core.module_at(pc)
        file = self._finder.locate(module).file if module else None
        start = file.function_start(pc - module.base) if file and module else None
        return start + module.base if start is not None and module else None

    def _diagnose(
        self,
        crashed: Thread | None,
        reading: Reading | None,
        modules: tuple[Module, ...],
        at: tuple[Instruction | None, Fault | None],
    ) -> tuple[Finding, ...]:
        core = self._core
        own = core.notes.threads[0].registers
        pc_name, sp_name = notes.PC_SP.get(core.machine or "", ("", ""))
        process = core.notes.process
        return diagnose(
            Case(
                signal=core.notes.signal,
                pid=process.pid if process else None,
                parent=process.parent if process else None,
                machine=core.machine,
                registers=own,
                stack_pointer=own.get(sp_name),
                pc=own.get(pc_name),
                instruction=at[0],
                fault=at[1],
                memory=core.memory,
                thread=crashed,
                runtime=reading.runtime if reading else None,
                modules=modules,
                abort_message=abort_message(core, self._finder),
                last_words=reading.last_words if reading else None,
                script_stack=reading.frames if reading else (),
                heap_place=reading.heap_place if reading else nowhere,
                flips=flips(core, self._finder),
                truncated=core.truncated,
            )
        )


def _thread(native: NativeThread, merged: Merged, name: str | None) -> Thread:
    """A thread under the interpreter's name for it, else the kernel's."""
    frames: tuple[Frame, ...] = merged.frames
    return Thread(
        id=native.id,
        name=name or native.name,
        crashed=native.crashed,
        depth=merged.depth,
        truncated=merged.truncated,
        frames=frames,
    )
