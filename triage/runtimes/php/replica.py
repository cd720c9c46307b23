"""Tables that lie where they lay before: the workers of one master share them, down to the address.

What was read of such a table needs no taking apart again when its bytes are the same at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from triage.corefile.memory import CoreMemory

Block = tuple[int, bytes]


class Replica:
    """The methods of built-in classes as they were read last, and how the code of all functions is fetched."""

    def __init__(self) -> None:
        self._owners: list[int] = []
        self._blocks: list[Block] = []
        self._methods: tuple[list[int], list[int]] | None = None
        self._records: list[int] = []
        self._fetch: Callable[[Any], tuple[int, ...]] = itemgetter(0, 0)
        self._start = 0

    def methods(self, memory: CoreMemory, owners: list[int]) -> tuple[list[int], list[int]] | None:
        """What `keep` was given for these classes, if everything it was read from is unchanged."""
        if self._methods is None or owners != self._owners:
            return None
        read = memory.read
        same = all(read(address, len(raw)) == raw for address, raw in self._blocks)
        return self._methods if same else None

    def keep(
        self,
        memory: CoreMemory,
        owners: list[int],
        read_from: Sequence[tuple[int, int]],
        methods: tuple[list[int], list[int]],
    ) -> None:
        """Remember what was read from these `(address, size)`."""
        blocks = [(address, memory.read(address, size)) for address, size in read_from if size]
        self._blocks = [(address, raw) for address, raw in blocks if raw is not None]
        self._owners, self._methods = owners, methods if len(blocks) == len(self._blocks) else None

    def words(self, memory: CoreMemory, records: list[int], distance: int) -> list[int] | None:
        """The word so far behind each record, where the records are those of last time and lie where they lay."""
        if not records or records != self._records:
            return None
        with memory.words(records[0]) as words:
            if words is None or words.start != self._start or max(records) + distance + 8 > words.end:
                return None
            return list(self._fetch(words.view))

    def keep_records(self, memory: CoreMemory, records: list[int], distance: int) -> None:
        """Remember how these are fetched."""
        with memory.words(records[0] if records else 0) as words:
            if words is None or len(records) < 2 or min(records) < words.start:
                return
            self._records, self._start = records, words.start
            self._fetch = itemgetter(*((record + distance - words.start) >> 3 for record in records))
