"""What Python knows about itself besides the stack: exceptions, the script, the garbage collector, options."""

from __future__ import annotations

from collections.abc import Mapping

from triage import redact
from triage.model import LastError
from triage.runtimes.python.frames import StackReader
from triage.runtimes.python.objects import Objects, untagged

_MOST_ITEMS = 64
_MOST_MESSAGE = 2000
_MAIN = "__main__"


def raised(objects: Objects, stack: StackReader, thread: int) -> LastError | None:
    """The exception on its way up when the thread was stopped."""
    value = objects.pointer(thread, "thread_state", "current_exception")
    if value is None:
        value = objects.pointer(thread, "thread_state", "curexc_value")
    return _error(objects, stack, value) if value is not None else None


def handled(objects: Objects, stack: StackReader, thread: int) -> LastError | None:
    """The exception that an `except` or `finally` block is dealing with: sys.exc_info()."""
    item = objects.pointer(thread, "thread_state", "exc_info")
    for _ in range(_MOST_ITEMS):
        if item is None:
            return None
        value = objects.pointer(item, "exception_item", "exc_value")
        if value is not None and objects.type_name(value) not in (None, "NoneType"):
            return _error(objects, stack, value)
        item = objects.pointer(item, "exception_item", "previous_item")
    return None


def _error(objects: Objects, stack: StackReader, value: int) -> LastError | None:
    kind = objects.type_name(value)
    if kind is None:
        return None
    message = _message(objects, value)
    file, line = _origin(objects, stack, value)
    return LastError(type=kind, message=redact.text(message) if message else message, file=file, line=line)


def _message(objects: Objects, value: int) -> str | None:
    """What str() of the exception gives, for the usual arguments: texts and numbers."""
    if objects.type_name(value) == "str":  # raised by C code, the exception itself not made yet
        return objects.string(value)
    arguments = objects.sequence(objects.field(value, "exception", "args"))
    parts = [_shown(objects, item) for item in arguments]
    text = parts[0] if len(parts) == 1 else f"({', '.join(parts)})" if parts else ""
    return text[:_MOST_MESSAGE]


def _shown(objects: Objects, item: int) -> str:
    text = objects.string(item)
    if text is not None:
        return text
    number = objects.integer(item)
    return str(number) if number is not None else f"<{objects.type_name(item) or 'unreadable'}>"


def _origin(objects: Objects, stack: StackReader, value: int) -> tuple[str | None, int | None]:
    """File and line where it was raised: the last entry of its traceback."""
    at = objects.pointer(value, "exception", "traceback") if objects.type_name(value) != "str" else None
    last, seen = None, set[int]()
    while at is not None and at not in seen and objects.is_a(at, "traceback"):
        seen.add(at)
        last, at = at, objects.pointer(at, "traceback", "tb_next")
    frame = objects.pointer(last, "traceback", "tb_frame") if last else None
    code_at = _code_of(objects, frame) if frame else None
    code = stack.code(code_at) if code_at else None
    if last is None or code is None or code_at is None:
        return None, None
    line = objects.signed(last + objects.layout.offset("traceback", "tb_lineno"), 4)
    if line is None or line < 0:  # since 3.12 it is worked out when it is asked for
        offset = objects.signed(last + objects.layout.offset("traceback", "tb_lasti"), 4)
        line = stack.line(code_at, offset) if offset is not None else None
    return code.file, line


def _code_of(objects: Objects, frame: int) -> int | None:
    if objects.layout.has("frame_object", "f_code"):
        return objects.pointer(frame, "frame_object", "f_code")
    inner = objects.pointer(frame, "frame_record", "f_frame")
    found = objects.field(inner, "interpreter_frame", "code") if inner else None
    return untagged(found) if found else None


def script(objects: Objects, interpreter: int, modules: Mapping[str, int]) -> str | None:
    """The file of `__main__`, else what sys.argv begins with (`-c`, `-m`)."""
    main = modules.get(_MAIN)
    file = objects.string(objects.get(objects.field(main, "module", "md_dict"), "__file__")) if main else None
    if file is not None:
        return file
    given = objects.sequence(objects.get(_system(objects, interpreter), "argv"), 1)
    return objects.string(given[0]) or None if given else None


def options(objects: Objects, interpreter: int) -> dict[str, str | None]:
    """The -X options: name → value, `None` for one without a value."""
    found: dict[str, str | None] = {}
    for key, value in objects.items(objects.get(_system(objects, interpreter), "_xoptions")):
        name, text = objects.string(key), objects.string(value)
        if name is not None:
            found[f"-X {name}"] = redact.setting(name, text)
    return found


def is_debug(objects: Objects, interpreter: int) -> bool:
    """Whether this is a debug build: only those count references."""
    return objects.get(_system(objects, interpreter), "gettotalrefcount") is not None


def collector(objects: Objects, runtime: int, interpreter: int) -> str | None:
    """What the garbage collector was doing, `None` where that cannot be read."""
    at, struct = interpreter, "interpreter_state"
    if objects.layout.has("runtime_state", "gc_collecting"):  # 3.8
        at, struct = runtime, "runtime_state"
    collecting, enabled = (objects.field(at, struct, name) for name in ("gc_collecting", "gc_enabled"))
    if collecting not in (0, 1) or enabled not in (0, 1):
        return None
    return "collecting" if collecting else "idle" if enabled else "switched off by the program"


def _system(objects: Objects, interpreter: int) -> int | None:
    return objects.field(interpreter, "interpreter_state", "sysdict")
