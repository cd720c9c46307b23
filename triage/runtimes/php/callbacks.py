"""Functions of the script that PHP calls on its own: error and exception handlers, shutdown functions."""

from __future__ import annotations

from collections.abc import Iterator

from triage.runtimes.php.functions import INTERNAL, Functions
from triage.runtimes.php.globals import Php
from triage.runtimes.php.reader import Reader, Value
from triage.runtimes.php.values import Values

_MOST = 20
_HANDLERS = {"user_error_handler": "error handler", "user_exception_handler": "exception handler"}


class Callbacks:
    """Reads them from one process."""

    def __init__(self, reader: Reader, php: Php) -> None:
        self._reader = reader
        self._php = php
        self._values = Values(reader)
        self._functions = Functions(reader)

    def found(self) -> tuple[str, ...]:
        """Sentences such as `error handler: App\\Errors::handle()`."""
        return (*self._handlers(), *self._shutdown())

    def _handlers(self) -> Iterator[str]:
        executor = self._php.address("executor_globals")
        for field, title in _HANDLERS.items() if executor else ():
            place = (executor or 0) + self._reader.layout.offset("executor_globals", field)
            name = self.name(self._reader.value(place))
            if name:
                yield f"{title}: {name}"

    def _shutdown(self) -> Iterator[str]:
        """Shutdown functions that wait for the script's end."""
        reader, place = self._reader, self._php.address("basic_globals")
        table = reader.pointer(place, "basic_globals", "user_shutdown_function_names") if place else None
        for at, element in enumerate(reader.elements(table) if table else ()):
            if at >= _MOST:
                return
            name = self._registered(element.value.payload)
            if name:
                yield f"shutdown function: {name}"

    def _registered(self, entry: int) -> str | None:
        """The callable of a registration: in a zend_fcall_info (8.1 and newer), or first of a list."""
        if not self._reader.sound(entry):
            return None
        direct = self.name(self._reader.value(entry + 8))
        if direct:
            return direct
        listed = self._reader.number(entry)
        return self.name(self._reader.value(listed)) if listed and self._reader.sound(listed) else None

    def name(self, value: Value | None) -> str | None:
        """What a callable calls: `trim()`, `Shop\\Cart::total()`, `{closure} FILE:LINE`."""
        if value is None:
            return None
        constant, reader = self._reader.layout.constant, self._reader
        text = reader.text_value(value)
        if text is not None:
            return f"{text}()" if text else None
        if value.type == constant("IS_OBJECT") and reader.sound(value.payload):
            return self._object(value.payload)
        if value.type == constant("IS_ARRAY") and reader.sound(value.payload):
            return self._pair([element.value for element in reader.elements(value.payload)][:3])
        return None

    def _object(self, instance: int) -> str | None:
        name = self._values.class_of(instance)
        if name != "Closure":
            return f"{name}::__invoke()" if name else None
        function = self._functions.at(instance + self._reader.layout.offset("closure", "func"))
        if function.broken or function.type == INTERNAL or function.file is None:
            return "a closure"
        return f"closure {function.file}:{function.declared}"

    def _pair(self, parts: list[Value]) -> str | None:
        if len(parts) != 2:
            return None
        owner, method = parts
        name = self._reader.text_value(method)
        of_object = owner.type == self._reader.layout.constant("IS_OBJECT")
        class_name = self._values.class_of(owner.payload) if of_object else self._reader.text_value(owner)
        return f"{class_name}::{name}()" if name and class_name else None
