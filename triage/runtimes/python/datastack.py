"""The memory a thread's frames lie in, 3.11 and newer: live frames only below its top, each above its caller.

Records of calls long over lie beyond the top, whole and sound to look at. A chain that a damaged pointer leads
there would show calls that no longer were.
"""

from __future__ import annotations

from triage.runtimes.python.objects import Objects

_MOST_CHUNKS = 4096
_BIGGEST = 1 << 32


class DataStack:
    """One thread's pieces of frame memory. Without them nothing is refused."""

    def __init__(self, objects: Objects, thread: int) -> None:
        self._pieces: list[tuple[int, int]] = []
        top = objects.field(thread, "thread_state", "datastack_top")
        chunk = objects.pointer(thread, "thread_state", "datastack_chunk")
        seen: set[int] = set()
        while chunk is not None and chunk not in seen and len(seen) < _MOST_CHUNKS:
            seen.add(chunk)
            start = chunk + objects.layout.offset("stack_chunk", "data")
            size = objects.field(chunk, "stack_chunk", "size") or 0
            used = objects.field(chunk, "stack_chunk", "top") or 0
            # Only of the pieces before the newest does the record itself say how far they are used.
            end = top if not self._pieces and top else start + used * 8
            if not start <= end <= chunk + min(size, _BIGGEST):
                self._pieces = []
                return
            self._pieces.append((start, end))
            chunk = objects.pointer(chunk, "stack_chunk", "previous")

    def refuses(self, inner: int | None, address: int) -> str | None:
        """Why no live frame of a plain call can be at `address`, which the frame at `inner` calls its caller."""
        if not self._pieces:
            return None
        piece = self._of(address)
        if piece is None:
            return "where no live frame is"
        if inner is not None and self._of(inner) == piece and address >= inner:
            return "which lies above its callee"
        return None

    def _of(self, address: int) -> int | None:
        return next((at for at, (start, end) in enumerate(self._pieces) if start <= address < end), None)
