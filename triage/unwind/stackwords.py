"""A thread's stack as 8-byte words, a window at a time: a deep walk reads millions of them."""

from __future__ import annotations

from triage.corefile import Memory
from triage.corefile.memory import CoreMemory

_SMALL, _LARGE = 8192, 1 << 20


class StackWords:
    """Words by address. `window` is the part at hand: `(low, high, words)`, `high` the last whole word's address."""

    def __init__(self, memory: CoreMemory) -> None:
        self._memory: Memory = memory
        self._region_at = memory.region_at
        self._size = _SMALL
        self.window: tuple[int, int, memoryview] = (0, -1, memoryview(b"").cast("Q"))

    def word(self, address: int) -> int | None:
        """The word at `address`, `None` when it is not known."""
        low, high, words = self.window
        if low <= address <= high and not address & 7:
            return words[(address - low) >> 3]
        if not address & 7 and self.load(address):
            low, _, words = self.window
            return words[(address - low) >> 3]
        raw = self._memory.read(address, 8)
        return int.from_bytes(raw, "little") if raw is not None else None

    def load(self, address: int) -> bool:
        """Bring the window to `address` and what lies above it, the first time a little, then much.

        False when nothing can be read there.
        """
        region = self._region_at(address)
        if region is None:
            return False
        low = address & ~7
        size = min(self._size, region.end - low) & ~7
        raw = self._memory.read(low, size) if size > 0 else None
        if raw is None:
            return False
        self._size = min(_LARGE, self._size * 4)
        self.window = (low, low + size - 8, memoryview(raw).cast("Q"))
        return True
