"""PHP values told in words: their type, and, only when asked for, a short preview without secrets."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache

from triage import redact
from triage.runtimes.php.layout import Layout
from triage.runtimes.php.reader import Reader, Value

_PREVIEW = 64
_PLAIN = {
    "IS_UNDEF": "unset",
    "IS_NULL": "null",
    "IS_FALSE": "bool",
    "IS_TRUE": "bool",
    "IS_LONG": "int",
    "IS_DOUBLE": "float",
    "IS_RESOURCE": "resource",
    "IS_CONSTANT_AST": "constant expression",
}
UNREADABLE = "unreadable"


@lru_cache(maxsize=32)
def _plain(layout: Layout) -> Mapping[int, str]:
    """The types told in one word, by number."""
    return {layout.constant(name): text for name, text in _PLAIN.items()}


class Values:
    """Describes zvals of one core."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plain = _plain(reader.layout)
        constant = reader.layout.constant
        self._string, self._array = constant("IS_STRING"), constant("IS_ARRAY")
        self._object, self._reference = constant("IS_OBJECT"), constant("IS_REFERENCE")

    def type(self, value: Value | None) -> str:
        """`int`, `string(17)`, `array(3)`, `Shop\\Cart`; what a reference refers to with `&` before it."""
        if value is None:
            return UNREADABLE
        if value.type == self._string:
            return self._counted("string", value.payload, "string", "len")
        if value.type == self._array:
            return self._counted("array", value.payload, "array", "nNumOfElements")
        if value.type == self._object:
            return self.class_of(value.payload) or f"object ({UNREADABLE})"
        if value.type == self._reference:
            return "&" + self.type(self._referred(value, depth=0))
        return self._plain.get(value.type) or f"no PHP type ({value.type})"

    def _counted(self, name: str, address: int, record: str, field: str) -> str:
        count = self._reader.sound_field(address, record, field)
        return f"{name}({count})" if count is not None else f"{name} ({UNREADABLE})"

    def _referred(self, value: Value, depth: int) -> Value | None:
        """The value behind a reference; a reference to a reference is damage, never PHP."""
        if depth or not self._reader.sound(value.payload):
            return None
        found = self._reader.value(value.payload + self._reader.layout.offset("reference", "val"))
        return None if found is None or found.type == self._reference else found

    def class_of(self, instance: int) -> str | None:
        """The class of the object at `instance`."""
        entry = self._reader.field(instance, "object", "ce") if instance % 8 == 0 else None
        return self._reader.class_name(entry) if entry else None

    def preview(self, name: str | None, value: Value | None) -> str | None:
        """The value itself, short: numbers, switches and strings. `name` may say that it is secret."""
        if value is not None and value.type == self._reference:
            value = self._referred(value, depth=0)
        shown = self._scalar(value) if value is not None else None
        if shown is None or name is None:
            return redact.text(shown) if shown is not None else None
        return redact.setting(name, shown)

    def _scalar(self, value: Value) -> str | None:
        constant = self._reader.layout.constant
        if value.type == constant("IS_LONG"):
            return str(struct.unpack("<q", struct.pack("<Q", value.payload))[0])
        if value.type == constant("IS_DOUBLE"):
            return repr(struct.unpack("<d", struct.pack("<Q", value.payload))[0])
        if value.type in (constant("IS_TRUE"), constant("IS_FALSE")):
            return "true" if value.type == constant("IS_TRUE") else "false"
        if value.type == self._string:
            text = self._reader.string(value.payload, 4 * _PREVIEW)
            return None if text is None else f'"{_short(redact.text(text))}"'
        return None


def _short(text: str) -> str:
    """Cut only after secrets were hidden: half a secret is no longer recognised as one."""
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 1] + "…"
