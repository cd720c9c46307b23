"""What PHP knows about itself besides the stack: request, memory, last error, exception."""

from __future__ import annotations

from triage import redact
from triage.model import LastError, MemoryUse, Request
from triage.runtimes.php import variables
from triage.runtimes.php.globals import Php
from triage.runtimes.php.heap import Shape
from triage.runtimes.php.reader import Reader, Value

_NO_LIMIT = (1 << 64) - 1
_ERRORS = {
    1: "E_ERROR", 2: "E_WARNING", 4: "E_PARSE", 8: "E_NOTICE", 16: "E_CORE_ERROR", 32: "E_CORE_WARNING",
    64: "E_COMPILE_ERROR", 128: "E_COMPILE_WARNING", 256: "E_USER_ERROR", 512: "E_USER_WARNING",
    1024: "E_USER_NOTICE", 2048: "E_STRICT", 4096: "E_RECOVERABLE_ERROR", 8192: "E_DEPRECATED",
    16384: "E_USER_DEPRECATED",
}  # fmt: skip
# Slots of Exception's and Error's own properties, the same in every version since 7.0.
_MESSAGE, _FILE, _LINE = 0, 3, 4


def sapi(reader: Reader, php: Php) -> str | None:
    """The server interface: `cli`, `fpm-fcgi`, `apache2handler`."""
    at = php.address("sapi_module")
    return reader.c_string(reader.field(at, "sapi_module", "name")) if at else php.sapi


def script(reader: Reader, php: Php) -> str | None:
    """The file the request or command started with."""
    at = php.address("sapi_globals")
    if at is None:
        return None
    return reader.c_string(reader.field(at, "sapi_globals", "request_info.path_translated"))


def request(reader: Reader, php: Php) -> Request | None:
    """Method and path of the HTTP request, `None` outside of one."""
    at = php.address("sapi_globals")
    kept = reader.c_string(reader.field(at, "sapi_globals", "request_info.request_method")) if at else None
    brought = variables.tables(reader, php)
    server = brought.get("_SERVER")
    method = kept or (None if at else _text(reader, server, "REQUEST_METHOD"))
    if not method:
        return None
    fallback = reader.c_string(reader.field(at, "sapi_globals", "request_info.request_uri")) if at else None
    uri = redact.uri(_text(reader, server, "REQUEST_URI") or fallback)
    return Request(method=method, uri=uri, variables=variables.variables(reader, brought))


def _text(reader: Reader, table: int | None, name: str) -> str | None:
    """The text of one entry of a table."""
    elements = reader.first(table) if table is not None else []
    return reader.text_value(next((element.value for element in elements if element.key == name), None))


def memory(reader: Reader, php: Php, heap: Shape | str) -> MemoryUse | None:
    """PHP's own accounting, as memory_get_usage() gives it."""
    limit = _memory_limit(reader, php)
    if isinstance(heap, str) or not 0 < heap.size <= heap.peak < 1 << 46:
        return MemoryUse(used=None, peak=None, limit=limit) if limit is not None else None
    return MemoryUse(used=heap.size, peak=heap.peak, limit=limit)


def _memory_limit(reader: Reader, php: Php) -> int | None:
    at = php.address("core_globals")
    limit = reader.field(at, "core_globals", "memory_limit") if at else None
    return limit if limit and limit != _NO_LIMIT else None


def last_error(reader: Reader, php: Php) -> LastError | None:
    """What error_get_last() would return."""
    at = php.address("core_globals")
    message_at = reader.field(at, "core_globals", "last_error_message") if at else None
    if at is None or not message_at:
        return None
    # Both were C strings once; the message became a zend_string in 8.0, the file in 8.1.
    version = reader.layout.version_id
    message = reader.string(message_at) if version >= 80000 else reader.c_string(message_at)
    file_at = reader.field(at, "core_globals", "last_error_file")
    file = reader.string(file_at) if version >= 80100 else reader.c_string(file_at)
    kind = reader.field(at, "core_globals", "last_error_type")
    return LastError(
        type=_ERRORS.get(kind or 0),
        message=redact.text(message) if message else None,
        file=file,
        line=reader.field(at, "core_globals", "last_error_lineno") or None,
    )


def exception(reader: Reader, php: Php) -> LastError | None:
    """The exception in flight when the process died; its class is `type`."""
    at = php.address("executor_globals")
    thrown = reader.pointer(at, "executor_globals", "exception") if at else None
    entry = reader.pointer(thrown, "object", "ce") if thrown else None
    if thrown is None or entry is None:
        return None
    message = reader.text_value(_property(reader, thrown, _MESSAGE))
    line = _property(reader, thrown, _LINE)
    return LastError(
        type=reader.string(reader.field(entry, "class_entry", "name")),
        message=redact.text(message) if message else message,
        file=reader.text_value(_property(reader, thrown, _FILE)),
        line=line.payload if line and line.type == reader.layout.constant("IS_LONG") else None,
    )


def _property(reader: Reader, instance: int, slot: int) -> Value | None:
    return reader.value(instance + reader.layout.offset("object", "properties_table") + slot * 16)
