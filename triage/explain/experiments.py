"""Which experiment tells the possible causes apart, and what each outcome would mean.

What each is known to tell was measured on real bugs of PHP; see docs/diagnosis.md.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from triage import lists
from triage.explain.service import Service
from triage.model import Crash

_MEMORY = frozenset(
    "heap-damaged zend-mm-corrupted text-as-pointer poison freed-block impossible-value glibc-heap-corrupt "
    "glibc-double-free glibc-invalid-free wild-read wild-write non-canonical bad-jump null-pointer small-integer "
    "write-to-read-only wild-access".split()
)
_NOT_MEMORY = frozenset(
    "signal-sent limit-reached stack-overflow mapped-file-gone bus-error arithmetic assertion bit-flip".split()
)
_VALGRIND = "USE_ZEND_ALLOC=0 ZEND_DONT_UNLOAD_MODULES=1 valgrind -q --undef-value-errors=no --num-callers=30"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One change, and what to conclude. `outcomes` are `(what is seen, what it means)`.

    `canary` tells that it runs in production on one server and needs waiting; otherwise it is a replay.
    """

    name: str
    asks: str
    because: tuple[str, ...]
    commands: tuple[str, ...]
    outcomes: tuple[tuple[str, str], ...]
    undo: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    canary: bool = True


def experiments(crash: Crash, service: Service) -> tuple[Experiment, ...]:
    """Those that can tell something about this crash, the cheapest first."""
    rules = {finding.rule for finding in crash.findings}
    if rules & _NOT_MEMORY and not rules & {"heap-damaged"}:
        return ()
    return tuple(_each(crash, rules, service))


def _each(crash: Crash, rules: set[str], service: Service) -> Iterator[Experiment]:
    if crash.runtime is None or crash.runtime.name != "php":
        return
    yield from _jit(crash, service)
    yield from _optimizer(crash, service)
    yield from _protect(crash, rules, service)
    yield from _extension(crash, rules, service)
    yield from _valgrind(crash, rules)
    yield from _gwp_asan(crash, rules, service)


def _jit(crash: Crash, service: Service) -> Iterator[Experiment]:
    if crash.runtime is None or not crash.runtime.jit:
        return
    commands, undo = service.setting("opcache.jit=disable")
    yield Experiment(
        name="JIT off",
        asks="Is it a fault of the JIT?",
        because=("machine code made by the JIT is in this process",),
        commands=commands,
        undo=undo,
        outcomes=(
            ("no crash", "the JIT is at fault, or needed for it: leave it off and report it; then try "
             "opcache.jit=function, which often stays fine where tracing fails"),
            ("crashes go on", "the JIT has no part in it: switch it on again"),
        ),
    )  # fmt: skip


def _optimizer(crash: Crash, service: Service) -> Iterator[Experiment]:
    if crash.runtime is None or crash.runtime.opcache is None:
        return
    commands, undo = service.setting("opcache.optimization_level=0")
    yield Experiment(
        name="optimizer off",
        asks="Is it a fault of opcache's optimizer, which rewrites PHP code before it runs?",
        because=("opcache's shared memory is in this process, so scripts go through its optimizer",),
        commands=commands,
        undo=undo,
        outcomes=(
            ("no crash", "an optimization is at fault: find the pass by setting opcache.optimization_level to "
             "0x7FFEBFFF with single bits off"),
            ("crashes go on", "the optimizer has no part in it"),
        ),
    )  # fmt: skip


def _protect(crash: Crash, rules: set[str], service: Service) -> Iterator[Experiment]:
    if crash.runtime is None or crash.runtime.opcache is None or not rules & _MEMORY:
        return
    commands, undo = service.setting("opcache.protect_memory=1")
    yield Experiment(
        name="opcache's memory locked",
        asks="Does somebody write into opcache's shared memory?",
        because=("opcache's shared memory is in this process", "wild writes may hit it without a crash at that "
        "moment"),
        commands=commands,
        undo=undo,
        outcomes=(
            ("crashes at once, with other stacks", "the code on the new stacks is the culprit, caught in the "
            "act: run "
             "triage on those cores"),
            ("nothing changes", "opcache's memory is not what is written to"),
        ),
    )  # fmt: skip


def _extension(crash: Crash, rules: set[str], service: Service) -> Iterator[Experiment]:
    runtime = crash.runtime
    if runtime is None or not rules & _MEMORY:
        return
    foreign = [
        name for name, version in runtime.extensions.items()
        if name in runtime.extension_files and version != runtime.version and not lists.is_bundled(name)
    ]  # fmt: skip
    if not foreign:
        return
    commands, undo = service.without(foreign[0])
    yield Experiment(
        name="one extension off",
        asks=f"Is it a fault of an extension ({', '.join(foreign)})?",
        because=tuple(f"{name} {runtime.extensions[name] or ''} is no part of PHP".replace("  ", " ")
                      for name in foreign),
        commands=commands,
        undo=undo,
        outcomes=(
            ("no crash", f"{foreign[0]} is at fault or needed for it: look for a newer or older version"),
            ("crashes go on", "switch it on again and take the next one"),
        ),
    )  # fmt: skip


def _script(crash: Crash) -> str:
    script = crash.runtime.script if crash.runtime is not None else None
    return shlex.quote(script) if script else "SCRIPT.php"


def _valgrind(crash: Crash, rules: set[str]) -> Iterator[Experiment]:
    if not rules & _MEMORY:
        return
    yield Experiment(
        name="replay under valgrind",
        asks="Who uses memory wrongly, and where did that memory come from?",
        because=("a replay under valgrind named the kind and both stacks for 13 of 13 memory bugs it was tried on",),
        control=(f"{_VALGRIND} php -r 'echo 1;'   # must say nothing; what it says here is no finding",),
        commands=("apt-get install valgrind   # on a machine that is not production",
                  f"{_VALGRIND} php {_script(crash)}"),
        outcomes=(
            ("Invalid read/write … inside a block of size N free'd", "use after free: the three stacks it prints are "
             "who used it, who freed it, who had got it"),
            ("Invalid write … after a block of size N alloc'd", "buffer overflow, with the code that did it"),
            ("nothing, and no crash", "the request was not the whole story: more load, other data, or another order"),
        ),
        canary=False,
    )  # fmt: skip


def _gwp_asan(crash: Crash, rules: set[str], service: Service) -> Iterator[Experiment]:
    if not rules & {"heap-damaged", "zend-mm-corrupted", "text-as-pointer", "poison", "freed-block"}:
        return
    if service.sapi != "fpm":
        return
    library = "/usr/lib/llvm-14/lib/clang/14/lib/linux/libclang_rt.scudo_standalone-x86_64.so"
    preload = f"LD_PRELOAD={library} USE_ZEND_ALLOC=0 SCUDO_OPTIONS=GWP_ASAN_Enabled=1:GWP_ASAN_SampleRate=500"
    yield Experiment(
        name="GWP-ASan on one server",
        asks="Can the wrong use of memory be caught under real load, where no replay shows it?",
        because=("PHP's memory is found damaged, and the code that did it is not on the stack",),
        control=(
            f"{preload} php -r 'echo 1;'   # must print 1. PHP loads extensions in a way that makes preloaded "
            "allocators crash a healthy PHP (dom, mbstring and others): then this experiment says nothing",
        ),
        commands=("apt-get install libclang-rt-14-dev   # the path above is Debian 12's",
                  f"systemctl edit {service.name}   # [Service] Environment={preload}",
                  f"systemctl restart {service.name}"),
        undo=(f"systemctl revert {service.name}", f"systemctl restart {service.name}"),
        outcomes=(
            ("a report \"GWP-ASan detected a memory error\" in the log", "it names the kind and the stacks of use, "
             "free and allocation"),
            ("crashes go on without a report", "it samples only some blocks: wait longer, or lower SampleRate"),
            ("crashes stop", "means little: another allocator lays memory out differently. memory_limit is not "
             "enforced meanwhile: set MemoryMax= for the service"),
        ),
    )  # fmt: skip
