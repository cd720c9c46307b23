"""What an address is to PHP's allocator: the block it lies in, and what that block holds."""

from __future__ import annotations

from triage.model import HeapPlace
from triage.runtimes.php.heap.bins import CHUNK, PAGE
from triage.runtimes.php.heap.check import Walked


def whereis(walked: Walked, address: int) -> HeapPlace | None:
    """The block that holds `address`; `None` when PHP's heap has no part in it."""
    block = walked.blocks.at(address)
    if block is not None:
        return HeapPlace(
            start=block.start, size=block.size, offset=address - block.start, what=block.what, free=block.free
        )
    start = address & ~(CHUNK - 1)
    if start not in walked.chunks.by_address:
        return None
    page = (address - start) // PAGE
    if page == 0:
        return HeapPlace(start=start, size=PAGE, offset=address - start, what="the record of a 2 MB piece of PHP's "
                         "heap itself", free=False)  # fmt: skip
    return HeapPlace(
        start=start + page * PAGE, size=PAGE, offset=address % PAGE,
        what="a page of a large block, or one that is not in use", free=False,
    )  # fmt: skip
