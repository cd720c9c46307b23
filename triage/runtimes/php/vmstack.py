"""PHP's own stack of pages, on which its calls lie: what tells a frame from left-over bytes.

A page is one piece of memory (256 KiB as a rule) that begins with a header; calls are laid one
after the other. Above the page's top lie the remains of calls that have already returned.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from triage.runtimes.php.reader import Reader

_MOST_PAGES = 4096


class Page(NamedTuple):
    """One page; `start` is its header's address, calls lie up to `top`."""

    start: int
    top: int
    end: int


class VmStack:
    """The pages of the running stack, innermost first. Empty when the executor's fields contradict each other."""

    def __init__(self, reader: Reader, executor: int | None, *, fibers: bool) -> None:
        """With `fibers`, frames may lie on pages of other stacks, which are not known here."""
        self._reader = reader
        self._foreign = fibers
        self.pages = tuple(self._walk(executor)) if executor else ()
        self._order = sorted(range(len(self.pages)), key=lambda at: self.pages[at].start)
        self._starts = [self.pages[at].start for at in self._order]
        self._lately = Page(0, 0, 0)

    def _walk(self, executor: int) -> list[Page]:
        fields = self._reader.fields
        start, top, end, current = fields(
            executor, "executor_globals", "vm_stack", "vm_stack_top", "vm_stack_end", "current_execute_data"
        )
        pages: list[Page] = []
        while start and top and end and len(pages) < _MOST_PAGES:
            if start % 8 or not start < top <= end:
                return []
            pages.append(Page(start, top, end))
            start = self._reader.field(start, "vm_stack", "prev")
            if start is None:
                return []
            top, end = fields(start, "vm_stack", "top", "end") if start else (None, None)
        # The running call must lie below the top, or these fields are not to be trusted.
        if current and any(page.top <= current < page.end for page in pages):
            return []
        return pages

    def refuses(self, inner: int | None, outer: int, *, size: int, generator: bool) -> str | None:
        """Why `outer` cannot be the caller of the call at `inner`; `None` when it can.

        `size` is the number of bytes the caller's call takes at least, `generator` whether its
        record lies on the heap, as those of generators do.
        """
        if not self.pages or generator:
            return None
        page = self._lately
        if inner is not None and page.start < outer < inner < page.end and outer + size <= min(inner, page.top):
            return None  # right below the inner one, as nearly all are
        at = self._index(outer)
        if at is None:
            return None if self._foreign else "is not on PHP's stack"
        if outer + size > self.pages[at].top:
            return "belongs to a call that has already returned"
        before = self._index(inner) if inner is not None else None
        if before is None or inner is None:
            return None
        if at < before or (at == before and outer + size > inner):
            return "lies in the middle of another call"
        self._lately = self.pages[at]
        return None

    def floor(self, address: int) -> int | None:
        """Where the lowest call may lie on the page of the call at `address`, `None` when that is on none."""
        if not self.pages:
            return 0
        at = self._index(address)
        return self.pages[at].start + 8 if at is not None else None

    def _index(self, address: int) -> int | None:
        place = bisect_left(self._starts, address) - 1
        if place < 0 or address >= self.pages[self._order[place]].end:
            return None
        return self._order[place]
