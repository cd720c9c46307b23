"""How the native stack goes on where no unwind table helps: through code the JIT made, and across fibers.

JIT code runs on the stack frame of `execute_ex`: where that function's own table says its caller
is found, the caller of JIT code is found too. It is believed only when the address there lies in
one of the few functions that call the VM loop.

A fiber's stack ends in the code that started it. The registers of the stack it was resumed from
lie where the switch put them (boost.context's x86-64 System V layout), and are believed only when
they lead into PHP's own function for switching.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from triage.corefile import CoreFile
from triage.model import FiberSwitch, Unwinding
from triage.runtimes.php.globals import Php
from triage.runtimes.php.reader import Reader
from triage.symbols import Finder
from triage.symbols.elffile import ElfFile

_NAMES = {3: "rbx", 6: "rbp", 7: "rsp", 12: "r12", 13: "r13", 14: "r14", 15: "r15"}
"""DWARF's numbers of the registers a function keeps for its caller."""
_CALLERS = ("zend_execute", "zend_call_function", "zend_generator_resume", "execute_ex")
_SAVED = {"r12": 0x10, "r13": 0x18, "r14": 0x20, "r15": 0x28, "rbx": 0x30, "rbp": 0x38, "rip": 0x40}
_SWITCHED_SIZE = 0x48
_ENTRY_SIZE = 128
_MOST_FIBERS = 200


def unwinding(
    core: CoreFile, finder: Finder, php: Php, reader: Reader, code: Sequence[tuple[int, int]], hooks: Sequence[str]
) -> Unwinding | None:
    """Rules for this process, `None` when it needs none or they cannot be made.

    `hooks` are paths of modules that replaced the VM loop: they call it as well.
    """
    file = finder.locate(php.module).file
    if core.machine != "x86_64" or file is None:
        return None
    switches = tuple(_switches(php, reader, file))
    rules, saved = _loop_rules(file) if code else ((), {})
    if not switches and not rules:
        return None
    callers = [_range(file, name, php.module.base) for name in _CALLERS]
    callers += [(module.start, module.end) for module in core.modules if module.path in hooks]
    entry = file.symbols.get("make_fcontext")
    start = entry.address + php.module.base if entry else 0
    return Unwinding(
        code=tuple(code),
        rules=rules,
        saved=saved,
        callers=tuple(found for found in callers if found is not None),
        fiber_entry=(start, start + _ENTRY_SIZE) if entry else None,
        switches=switches,
    )


def _loop_rules(file: ElfFile) -> tuple[tuple[tuple[str, int], ...], dict[str, int]]:
    """`(where the caller's frame begins: register and distance, distances of the saved registers from there)`."""
    loop = file.symbols.get("execute_ex")
    rows = file.unwind_rows(loop.address) if loop else []
    if not rows:
        return (), {}
    most = max(sum(isinstance(key, int) for key in row) for row in rows)
    body = [row for row in rows if sum(isinstance(key, int) for key in row) == most]
    places = {(_NAMES.get(row["cfa"].reg, ""), int(row["cfa"].offset)) for row in body if row["cfa"].expr is None}
    # The body's own rule has the frame pointer, or the largest frame; the others are of its last instructions.
    rules = sorted((place for place in places if place[0]), key=lambda place: (place[0] != "rbp", -place[1]))[:1]
    saved = {_NAMES[key]: int(rule.arg) for key, rule in body[0].items() if key in _NAMES and rule.type == "OFFSET"}
    return tuple(rules), saved


def _range(file: ElfFile, name: str, base: int) -> tuple[int, int] | None:
    symbol = file.symbols.get(name)
    return (symbol.address + base, symbol.address + base + symbol.size) if symbol and symbol.size else None


def _switches(php: Php, reader: Reader, file: ElfFile) -> Iterator[FiberSwitch]:
    """For each fiber on the crashed stack, innermost first: its stack, and the registers of whoever resumed it."""
    executor = php.address("executor_globals")
    layout = reader.layout
    if executor is None or not layout.has("executor_globals", "active_fiber"):
        return
    fiber = reader.pointer(executor, "executor_globals", "active_fiber")
    main = reader.field(executor, "executor_globals", "main_fiber_context")
    for _ in range(_MOST_FIBERS):
        if fiber is None:
            return
        stack = reader.pointer(fiber + layout.offset("fiber", "context"), "fiber_context", "stack")
        caller = reader.pointer(fiber, "fiber", "caller")
        registers = _registers(php, reader, file, caller) if caller else None
        low, size = (reader.number(stack), reader.number(stack + 8)) if stack else (None, None)
        if registers is None or low is None or size is None:
            return
        yield FiberSwitch(low=low, high=low + size, registers=registers)
        fiber = caller - layout.offset("fiber", "context") if caller and caller != main else None


def _registers(php: Php, reader: Reader, file: ElfFile, context: int) -> dict[str, int] | None:
    """The registers a context was left with; `None` when they do not lead into PHP's function for switching."""
    handle = reader.field(context, "fiber_context", "handle")
    wanted = file.symbols.get("zend_fiber_switch_context")
    if not handle or wanted is None:
        return None
    for shift in (0, 8):  # builds with a shadow stack keep one word more
        found = {name: reader.number(handle + at + shift) for name, at in _SAVED.items()}
        pc = found["rip"]
        start = file.function_start(pc - php.module.base) if pc else None
        if start == wanted.address:
            known = {name: value for name, value in found.items() if value is not None}
            return {**known, "rsp": handle + _SWITCHED_SIZE + shift}
    return None
