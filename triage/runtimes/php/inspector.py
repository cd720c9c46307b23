"""Answers to what a debugger's user asks of PHP's memory: a frame, a zval, a string, an array, an address.

Addresses come as numbers in text (`0x…`). Contents are shown shortened and with secrets hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from triage import redact
from triage.corefile import CoreFile
from triage.errors import UsageError
from triage.model import HeapPlace, Role, ScriptFrame
from triage.runtimes.php.frames import Walk
from triage.runtimes.php.ini import Directive
from triage.runtimes.php.opcache import SHARED
from triage.runtimes.php.reader import Reader, Value
from triage.runtimes.php.values import Values
from triage.runtimes.php.vmstack import Page
from triage.runtimes.protocol import Inspection

_MOST_VARIABLES, _MOST_ELEMENTS, _MOST_TEXT = 200, 50, 1000
_ZVAL = 16
# The word after the reference count; php-src's Zend/zend_types.h: GC_IMMUTABLE is its bit 6 since PHP 7.3.
_FLAGS, _IMMUTABLE, _FLAGS_SINCE = 4, 1 << 6, 70300
_RIGHTS = ((4, "r"), (2, "w"), (1, "x"))


class Inspector:
    """One PHP process under questions."""

    def __init__(
        self,
        core: CoreFile,
        reader: Reader,
        stack: Callable[[], Walk],
        directives: Callable[[], list[Directive]],
        heap_place: Callable[[int], HeapPlace | None],
        pages: Callable[[], Sequence[Page]],
    ) -> None:
        self._core = core
        self._reader = reader
        self._stack = stack
        self._directives = directives
        self._heap_place = heap_place
        self._pages = pages
        self._values = Values(reader)

    def inspections(self) -> Mapping[str, Inspection]:
        """All questions by name."""
        return {
            "frame": Inspection("[N]", "PHP frame N (0 is the innermost): arguments and variables", self.frame),
            "zval": Inspection("ADDRESS", "the PHP value (zval) at an address", self.zval),
            "string": Inspection("ADDRESS", "the PHP string (zend_string) at an address", self.string),
            "hash": Inspection("ADDRESS", "the PHP array (HashTable) at an address", self.hash),
            "ini": Inspection(
                "[TEXT]", "ini settings whose name contains a text; all that were changed without", self.ini
            ),
            "heap": Inspection("ADDRESS", "what is this address? mapping, block, object", self.heap),
        }

    def frame(self, words: Sequence[str]) -> Iterator[str]:
        """One frame with its variables."""
        walk = self._stack()
        frames, number = walk.frames, _number(words, default=0)
        if not frames:
            yield from walk.warnings or ("PHP's own stack is empty: no PHP code was running.",)
            return
        if not 0 <= number < len(frames):
            raise UsageError(f"there is no PHP frame {number}: they go from 0 to {len(frames) - 1}")
        frame = frames[number]
        yield f"#{number} {_name(frame)} at {frame.address:#x} (execute_data)"
        yield f"  {frame.file}:{frame.line}" if frame.file else "  built into PHP or an extension"
        if frame.opcode:
            yield f"  instruction {frame.opcode}"
        yield from self._this(frame.address)
        for item in frame.arguments:
            shown = f" = {item.value}" if item.value is not None else ""
            yield f"  argument ${item.name or '(unnamed)'}: {item.type}{shown}"
        if frame.role is not Role.INTERNAL:
            yield from self._variables(frame)

    def _this(self, address: int) -> Iterator[str]:
        reader = self._reader
        if not reader.layout.has("execute_data", "This"):
            return
        value = reader.value(address + reader.layout.offset("execute_data", "This"))
        if value is not None and value.type == reader.layout.constant("IS_OBJECT"):
            yield f"  $this: {self._values.type(value)} at {value.payload:#x}"

    def _variables(self, frame: ScriptFrame) -> Iterator[str]:
        reader = self._reader
        function = reader.pointer(frame.address, "execute_data", "func")
        names = reader.pointer(function, "op_array", "vars") if function else None
        count = reader.field(function, "op_array", "last_var") if function else None
        first = frame.address + reader.layout.constant("ZEND_CALL_FRAME_SLOT") * _ZVAL
        for at in range(min(count or 0, _MOST_VARIABLES)):
            name = reader.string(reader.number((names or 0) + at * 8)) if names else None
            value = reader.value(first + at * _ZVAL)
            yield f"  ${name or at}: {self._told(name, value)}  (zval at {first + at * _ZVAL:#x})"

    def _told(self, name: str | None, value: Value | None) -> str:
        preview = self._values.preview(name, value)
        return self._values.type(value) + (f" = {preview}" if preview is not None else "")

    def zval(self, words: Sequence[str]) -> Iterator[str]:
        """A zval: type, contents, where it points."""
        address = _address(words)
        value = self._reader.value(address)
        if value is None:
            raise UsageError(f"{address:#x} is not readable: nothing is known of that memory")
        yield f"zval at {address:#x}: {self._told(None, value)}"
        yield f"  value {value.payload:#018x}, type {value.type}"
        if (
            value.payload
            and self._reader.sound(value.payload)
            and value.type >= self._reader.layout.constant("IS_STRING")
        ):
            yield f"  points to {value.payload:#x}, {self._owners(value.payload)}"
            yield from self._place(value.payload)

    def _owners(self, address: int) -> str:
        """The reference count of a string, array or object, where PHP keeps one at all."""
        flags = self._reader.number(address + _FLAGS, 4) or 0
        if self._reader.layout.version_id >= _FLAGS_SINCE and flags & _IMMUTABLE:
            return "a constant that PHP never counts or frees (immutable)"
        return f"refcount {self._reader.number(address, 4)}"

    def string(self, words: Sequence[str]) -> Iterator[str]:
        """A zend_string."""
        address = _address(words)
        text = self._reader.string(address, _MOST_TEXT)
        length = self._reader.field(address, "string", "len")
        if text is None:
            raise UsageError(
                f"there is no PHP string at {address:#x}: "
                + (
                    "that is not readable"
                    if length is None
                    else f"its length ({length}) is not sane, or no NUL follows it"
                )
            )
        yield f"string at {address:#x}: {length} bytes, {self._owners(address)}"
        yield f"  {redact.text(text)!r}" + (" …" if (length or 0) > _MOST_TEXT else "")

    def hash(self, words: Sequence[str]) -> Iterator[str]:
        """A HashTable and its first elements."""
        address = _address(words)
        reader = self._reader
        count = reader.field(address, "array", "nNumOfElements")
        used, size = reader.field(address, "array", "nNumUsed"), reader.field(address, "array", "nTableSize")
        if count is None or used is None or size is None or not count <= used <= size or size & (size - 1):
            raise UsageError(f"there is no PHP array at {address:#x}: its counts contradict each other")
        yield f"array at {address:#x}: {count} elements, {used} of {size} places used, {self._owners(address)}"
        for at, element in enumerate(reader.elements(address)):
            if at == _MOST_ELEMENTS:
                yield f"  … and {count - at} more"
                return
            key = repr(redact.text(element.key)) if element.key is not None else "(number)"
            yield f"  {key} => {self._told(element.key, element.value)}"

    def ini(self, words: Sequence[str]) -> Iterator[str]:
        """Settings by name; those that were changed, without a name."""
        wanted = words[0].lower() if words else None
        found = [d for d in self._directives() if (wanted in d.name if wanted else _changed(d))]
        if not found:
            yield f"no setting has {wanted!r} in its name" if wanted else "no setting was changed"
        for item in found:
            default = f"  (built in: {redact.setting(item.name, item.default) or ''})" if item.known else ""
            before = f"  (before the script changed it: {redact.setting(item.name, item.original) or ''})"
            yield f"{item.name} = {redact.setting(item.name, item.value) or ''}{default}" + (
                before if item.modified and item.original != item.value else ""
            )

    def heap(self, words: Sequence[str]) -> Iterator[str]:
        """What is this address?"""
        address = _address(words)
        region = self._core.memory.region_at(address)
        if region is None:
            yield f"{address:#x}: nothing is mapped there"
            yield from self._beside(address)
            return
        rights = "".join(letter if region.flags & bit else "-" for bit, letter in _RIGHTS)
        yield f"{address:#x} lies in {region.start:#x}-{region.end:#x}, rights {rights}"
        module = self._core.module_at(address)
        if module is not None:
            yield f"  file {module.path}, at {address - module.base:#x} in it"
        elif region.path is not None and region.path.startswith(SHARED):
            yield "  opcache's shared memory" + (" (machine code made by the JIT)" if region.flags & 1 else "")
        elif region.path is not None:
            yield f"  mapped file {region.path}"
        for thread in self._core.notes.threads:
            pointer = thread.registers.get("rsp", thread.registers.get("sp", 0))
            if region.start <= pointer < region.end:
                side = "above" if address >= pointer else "below (no longer or not yet in use)"
                yield f"  the stack of thread {thread.id}, {abs(address - pointer)} bytes {side} its stack pointer"
        yield from self._call(address) or self._place(address)
        word = self._reader.number(address)
        if word is not None:
            yield f"  the 8 bytes there: {word:#018x}"

    def _beside(self, address: int) -> Iterator[str]:
        regions = self._core.memory.regions()
        before = [region for region in regions if region.end <= address][-1:]
        after = [region for region in regions if region.start > address][:1]
        for region in before:
            yield f"  {address - region.end:#x} bytes before it ends {region.path or 'memory of no file'}"
        for region in after:
            yield f"  {region.start - address:#x} bytes behind it begins {region.path or 'memory of no file'}"

    def _call(self, address: int) -> tuple[str, ...]:
        """The call whose record on PHP's own stack the address lies in; nothing when it lies elsewhere."""
        frames = self._stack().frames
        page = next((page for page in self._pages() if page.start <= address < page.end), None)
        if page is None:
            return ()
        if address >= page.top:
            return ("  PHP's own stack of calls, in a part that is not in use (or no longer)",)
        below = [at for at, frame in enumerate(frames) if page.start < frame.address <= address]
        if not below:
            return ("  PHP's own stack of calls, before its first call",)
        at = max(below, key=lambda number: frames[number].address)
        return (
            f"  PHP's own stack of calls, {address - frames[at].address} bytes into the record of {_name(frames[at])}"
            f" (php-frame {at})",
        )

    def _place(self, address: int) -> Iterator[str]:
        block = self._heap_place(address)
        if block is None:
            return
        state = "FREE: it is on PHP's list of free blocks" if block.free else "in use"
        yield f"  PHP's heap: {block.offset} bytes into a block of {block.size} bytes at {block.start:#x}, {state}"
        if not block.free:
            yield f"  it holds {block.what}"


def _changed(directive: Directive) -> bool:
    """Whether it differs from what is built in; for PHP, an empty value and none are one."""
    return directive.known and (directive.value or "") != (directive.default or "")


def _name(frame: ScriptFrame) -> str:
    return f"{frame.class_name}{frame.call or '::'}{frame.function}" if frame.class_name else str(frame.function)


def _number(words: Sequence[str], default: int) -> int:
    if not words:
        return default
    try:
        return int(words[0], 0)
    except ValueError as error:
        raise UsageError(f"{words[0]!r} is no number") from error


def _address(words: Sequence[str]) -> int:
    if not words:
        raise UsageError("an address is missing", help="Such as 0x7f0012345678, $rdi, or any expression GDB knows.")
    return _number(words, 0) & ((1 << 64) - 1)
