"""What a frame is called: the names debug_backtrace() gives, and the constant that is being worked out."""

from __future__ import annotations

from collections.abc import Callable

from triage.model import Role, ScriptFrame
from triage.runtimes.php.functions import Function
from triage.runtimes.php.reader import Reader

KIND = "php"
_MOST_LINES = 1 << 31
_ASKS_FOR_CONSTANTS = {
    *("ZEND_FETCH_CLASS_CONSTANT", "ZEND_NEW", "ZEND_INIT_STATIC_METHOD_CALL", "ZEND_RECV_INIT"),
    *(f"ZEND_FETCH_STATIC_PROP_{mode}" for mode in ("R", "W", "RW", "IS", "FUNC_ARG", "UNSET")),
    *("ZEND_ASSIGN_STATIC_PROP", "ZEND_ISSET_ISEMPTY_STATIC_PROP"),
}


def name_files(frames: list[ScriptFrame], statement_of: Callable[[ScriptFrame], str | None]) -> list[ScriptFrame]:
    """Give code without a function name the name debug_backtrace() would give it."""
    named = list(frames)
    nameless = Role.EVAL, Role.MAIN
    for at in [at for at, frame in enumerate(frames) if frame.role in nameless]:  # there may be many frames
        frame = frames[at]
        caller = frames[at + 1] if at + 1 < len(frames) else None
        if frame.role is Role.EVAL and caller is not None:
            named[at] = frame._replace(function="eval")
        elif frame.role is Role.EVAL:  # `php -r`: nothing called eval, this is the script
            named[at] = frame._replace(function="{main}", role=Role.MAIN)
        else:
            statement = statement_of(caller) if caller is not None else None
            role = Role.INCLUDE if statement else Role.MAIN
            named[at] = frame._replace(function=statement or "{main}", role=role)
    return named


def constant_expression(reader: Reader, executor: int) -> ScriptFrame | None:
    """The constant being worked out: PHP 8.3 and newer note its place in EG(filename_override)."""
    file = reader.string(reader.field(executor, "executor_globals", "filename_override"))
    line = reader.field(executor, "executor_globals", "lineno_override") if file is not None else None
    if line is None or line >= _MOST_LINES:
        return None
    return ScriptFrame(
        kind=KIND, role=Role.INTERNAL, address=executor, function="[constant expression]", file=file, line=line
    )


def evaluating(frames: list[ScriptFrame]) -> int:
    """Where the constant's place is in the stack: inside of the innermost frame that may ask for one.

    PHP itself always names it innermost, also while an error handler runs because of it.
    """
    return next((at for at, frame in enumerate(frames) if frame.opcode in _ASKS_FOR_CONSTANTS), 0)


def call_of(function: Function, this: str | None) -> str | None:
    """How a function was called: `->` on an instance, `::` statically, `None` for a plain function."""
    if this is not None:
        return "->"
    return "::" if function.class_name else None


def with_note(frame: ScriptFrame, note: str) -> ScriptFrame:
    """The frame with one more note."""
    return frame._replace(note=f"{frame.note}, {note}" if frame.note else note)
