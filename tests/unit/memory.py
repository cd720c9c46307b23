"""Memory made of given pieces."""

from __future__ import annotations


class Bytes:
    """A `Memory` over given pieces."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self._pieces = pieces

    def read(self, address: int, size: int) -> bytes | None:
        """See `Memory.read`; a read may not cross from one piece into the next."""
        for start, data in self._pieces.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        return None
