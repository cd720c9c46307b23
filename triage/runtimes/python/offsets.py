"""The offsets that 3.13 and newer keep for debuggers at the start of `_PyRuntime` (_Py_DebugOffsets).

They are the truth about the build that crashed, so they win over the measured table. What they do not
tell (exceptions, modules, functions) is taken from the table of that version, whose file also says where in
the record each offset stands.
"""

from __future__ import annotations

from collections.abc import Mapping

from triage.corefile.protocol import Memory
from triage.runtimes.layout import Layout, load

_COOKIE = b"xdebugpy"
_VERSION_AT, _FREE_THREADED_AT = 8, 16  # the same in every version: that is what they are for
_MOST = 1 << 24

TOLD: Mapping[tuple[str, str], str] = {
    ("runtime_state", "interpreters_head"): "runtime_state.interpreters_head",
    ("interpreter_state", "next"): "interpreter_state.next",
    ("interpreter_state", "id"): "interpreter_state.id",
    ("interpreter_state", "threads_head"): "interpreter_state.threads_head",
    ("interpreter_state", "imports_modules"): "interpreter_state.imports_modules",
    ("interpreter_state", "sysdict"): "interpreter_state.sysdict",
    ("interpreter_state", "gil"): "interpreter_state.ceval_gil",
    ("thread_state", "prev"): "thread_state.prev",
    ("thread_state", "next"): "thread_state.next",
    ("thread_state", "interp"): "thread_state.interp",
    ("thread_state", "current_frame"): "thread_state.current_frame",
    ("thread_state", "thread_id"): "thread_state.thread_id",
    ("thread_state", "native_thread_id"): "thread_state.native_thread_id",
    ("interpreter_frame", "previous"): "interpreter_frame.previous",
    ("interpreter_frame", "code"): "interpreter_frame.executable",
    ("interpreter_frame", "instr"): "interpreter_frame.instr_ptr",
    ("interpreter_frame", "owner"): "interpreter_frame.owner",
    ("interpreter_frame", "tlbc_index"): "interpreter_frame.tlbc_index",
    ("code", "co_filename"): "code_object.filename",
    ("code", "co_name"): "code_object.name",
    ("code", "co_qualname"): "code_object.qualname",
    ("code", "co_linetable"): "code_object.linetable",
    ("code", "co_firstlineno"): "code_object.firstlineno",
    ("code", "co_code_adaptive"): "code_object.co_code_adaptive",
    ("code", "co_tlbc"): "code_object.co_tlbc",
    ("object", "ob_type"): "pyobject.ob_type",
    ("type", "tp_name"): "type_object.tp_name",
    ("type", "tp_flags"): "type_object.tp_flags",
    ("tuple", "ob_item"): "tuple_object.ob_item",
    ("list", "ob_item"): "list_object.ob_item",
    ("dict", "ma_keys"): "dict_object.ma_keys",
    ("dict", "ma_values"): "dict_object.ma_values",
    ("long", "tag"): "long_object.lv_tag",
    ("long", "digits"): "long_object.ob_digit",
    ("bytes", "ob_sval"): "bytes_object.ob_sval",
    ("unicode", "state"): "unicode_object.state",
    ("unicode", "length"): "unicode_object.length",
}
"""Where the measured tables and the record speak of the same field."""


def own_offsets(memory: Memory, runtime: int) -> Layout | None:
    """The layout by the record at `runtime`; `None` when there is no record, or its version was never measured."""
    if memory.read(runtime, len(_COOKIE)) != _COOKIE:
        return None
    version, free_threaded = (_number(memory, runtime + at) for at in (_VERSION_AT, _FREE_THREADED_AT))
    if version is None or free_threaded not in (0, 1):
        return None
    key = f"{version >> 24}.{version >> 16 & 0xFF}" + ("t" if free_threaded else "")
    table = load(__package__ or "", key)
    if table is None:
        return None
    found = {}
    for field, name in TOLD.items():
        if table.has("debug_offsets", name):
            value = _number(memory, runtime + table.offset("debug_offsets", name))
            if value is not None and value < _MOST:
                found[field] = value
    return table.moved(found)


def _number(memory: Memory, address: int) -> int | None:
    raw = memory.read(address, 8)
    return int.from_bytes(raw, "little") if raw is not None else None
