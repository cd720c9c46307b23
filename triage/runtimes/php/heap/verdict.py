"""What kind of misuse fits a broken link: overflow, use after free, or double free.

A link is the first word of a free block. Only the process itself keeps it, so what stands there
instead was written by code that had no right to the block: by one that wrote past the end of the
block before it (overflow), or by one that still held the block after giving it back (use after
free). A block that is in its list twice was given back twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from triage.model import Confidence
from triage.runtimes.php.heap.chunks import Chunks
from triage.runtimes.php.heap.freelists import BadLink, FreeLists
from triage.runtimes.php.heap.neighbours import Blocks

OVERFLOW, STALE, TWICE = "overflow", "use-after-free", "double-free"
_MASK = (1 << 64) - 1
_LOW = 0xFFFF_FFFF
_LIVE_STRING = (0x16_0000_0001, 0x6_0000_0001)  # a string with one owner: 8.x, 7.x


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` is `None` when the bytes do not tell. `because` are sentences, the most telling first."""

    kind: str | None
    confidence: Confidence
    because: tuple[str, ...]


def judge(link: BadLink, lists: FreeLists, chunks: Chunks, blocks: Blocks) -> Verdict:
    """The misuse that fits one broken link."""
    seen = _Evidence(link, lists, chunks, blocks)
    rules = (_one_byte, _twice, _refcount, _continued, _shifted, _one_byte_before, _handed_out_twice, _foreign)
    found = next((verdict for rule in rules if (verdict := rule(seen)) is not None), None)
    text = f"its link is {looks(link.value)}, which leads to no block of its size"
    return found or Verdict(None, Confidence.GUESS, (text,))


@dataclass(frozen=True, slots=True)
class _Evidence:
    link: BadLink
    lists: FreeLists
    chunks: Chunks
    blocks: Blocks

    def fits(self, address: int) -> bool:
        return self.lists.fits(address & _MASK, self.link.bin)

    def is_behind_a_full_one(self, slot: int) -> bool:
        """Whether the block before is in use to its last byte, which is no NUL."""
        if self.chunks.read(slot - 1, 1) in (b"\0", b""):
            return False
        before = self.blocks.at(slot - 1)
        return before is None or not before.free

    def is_lost(self, address: int) -> bool:
        """Whether there is a block of that class in no list that begins as free ones do: by a link to another."""
        if not self.fits(address) or address in self.lists.free:
            return False
        return self.fits(int.from_bytes(self.chunks.read(address, 8), "little"))


def _twice(seen: _Evidence) -> Verdict | None:
    link = seen.link
    if not link.again:
        return None
    own = "links to itself" if link.slot == link.value else "leads back to a block that is in the list already"
    text = f"the list of free blocks {own} ({link.value:#x}): PHP itself never makes such a list"
    return Verdict(TWICE, Confidence.LIKELY, (text,))


def _refcount(seen: _Evidence) -> Verdict | None:
    """A stale pointer's refcount was counted up or down: the low half is off by a little."""
    link = seen.link
    if link.slot is None:
        return None
    if link.expected is not None:
        changed = (link.value - link.expected) & _MASK
        near = min(changed, -changed & _MASK) <= 8
        low_only = link.value >> 32 == link.expected >> 32
        high_only = link.value & _LOW == link.expected & _LOW
        if near:
            return _counted(link.value, changed <= 8)
        if high_only or (low_only and link.expected):
            half = "second half (where a value keeps its type)" if high_only else "first half (a refcount)"
            text = f"only the {half} of its link was changed, as by code that still used the block as a value"
            return Verdict(STALE, Confidence.LIKELY, (text,))
        return None
    for distance in range(1, 9):
        if seen.fits(link.value + distance) or seen.fits(link.value - distance):
            return _counted(link.value, not seen.fits(link.value + distance))
    return None


def _counted(value: int, up: bool) -> Verdict:  # noqa: FBT001
    way = "up" if up else "down"
    text = f"its link ({value:#x}) is a few bytes off a block: a refcount was counted {way} through a stale pointer"
    return Verdict(STALE, Confidence.LIKELY, (text,))


def _continued(seen: _Evidence) -> Verdict | None:
    """The block before was written past its end: the same bytes go on across the border."""
    slot = seen.link.slot
    if slot is None:
        return None
    before = seen.blocks.at(slot - 1)
    if before is None or before.start + before.size != slot:
        return None
    tail, head = seen.chunks.read(slot - 8, 8), seen.chunks.read(slot, 8)
    if before.end is not None and seen.chunks.read(before.end, 1) != b"\0" and _goes_on(tail[-4:], head[:4]):
        text = f"{before.what}, in the block before, has lost the NUL at its end, and its bytes go on into this block"
        return Verdict(OVERFLOW, Confidence.LIKELY, (text, f"its link is {looks(seen.link.value)}"))
    own_shadow = before.free and seen.lists.shadow(before.start, seen.link.bin) is not None
    if own_shadow and before.start in seen.lists.free:
        return None  # a free block in between whose own end is whole: nothing was written across it
    if _goes_on(tail[-4:], head[:4]):
        text = f"the bytes at the end of the block before ({before.what}) go on into this one"
        return Verdict(OVERFLOW, Confidence.LIKELY, (text, f"its link is {looks(seen.link.value)}"))
    return None


def _goes_on(tail: bytes, head: bytes) -> bool:
    """Whether two neighbouring pieces are one: text on both sides, or one pattern repeated."""
    if len(tail) < 4 or len(head) < 4 or not any(tail) or not any(head):
        return False
    text = all(32 <= byte < 127 for byte in (*tail, *head[:2]))
    return text or tail == head or (len(set(tail)) == 1 and tail[0] == head[0])


def _shifted(seen: _Evidence) -> Verdict | None:
    """The list's head was taken from a link that had been counted down or up (before 8.4).

    The next block was then read a byte early or late, so a true link shows shifted by a byte.
    """
    link = seen.link
    if link.slot is not None:
        return None
    down = link.value >> 8
    up = (link.value & ((1 << 40) - 1)) << 8
    near = any(seen.fits(up + low) for low in range(0, 256, 8))
    if not seen.fits(down) and not near:
        return None
    way = "down" if seen.fits(down) else "up"
    text = (
        f"the list's head ({link.value:#x}) is a link read a byte beside its place: the refcount of a block was "
        f"counted {way} through a stale pointer, and PHP has given the block out since"
    )
    return Verdict(STALE, Confidence.LIKELY, (text,))


def _one_byte(seen: _Evidence) -> Verdict | None:
    """One byte too many, a NUL as a rule: the link's lowest byte is zero, and the block before is full."""
    link = seen.link
    if link.slot is None or link.value & 0xFF or not link.value or not seen.is_behind_a_full_one(link.slot):
        return None
    if link.expected is not None:
        fits = link.expected & ~0xFF == link.value != link.expected
    else:
        fits = link.again or any(seen.fits(link.value + low) for low in range(8, 256, 8))
    if not fits:
        return None
    text = f"the lowest byte of its link is zero ({link.value:#x}), and the block before is full to its last byte"
    return Verdict(OVERFLOW, Confidence.LIKELY if link.expected else Confidence.GUESS, (text,))


def _one_byte_before(seen: _Evidence) -> Verdict | None:
    """One byte too many in the link before: shortened, it led to a block in use, whose contents pass for a link.

    The list's true rest is where the link led before: behind the block in use, in no list any more.
    """
    link = seen.link
    if link.slot is None or link.via is None or link.expected is not None or link.slot & 0xFF:
        return None
    if not seen.is_behind_a_full_one(link.via) or not any(
        map(seen.is_lost, range(link.slot + 8, link.slot + 256, 8))
    ):
        return None
    text = (
        f"the lowest byte of the link that leads to it ({link.slot:#x}, in the free block {link.via:#x}) is zero, "
        "the block before that one is full to its last byte, and a free block close behind is in no list any more"
    )
    return Verdict(OVERFLOW, Confidence.GUESS, (text,))


def _handed_out_twice(seen: _Evidence) -> Verdict | None:
    if seen.link.value not in _LIVE_STRING:
        return None
    text = "where its link should be is the head of a string in use: the block was given out while it was in the list"
    return Verdict(TWICE, Confidence.GUESS, (text,))


def _foreign(seen: _Evidence) -> Verdict | None:
    """Other bytes, and the block before is whole: whoever wrote them held this very block."""
    link = seen.link
    if link.slot is None:
        return None
    before = seen.blocks.at(link.slot - 1)
    whole = before is None or before.end is None or seen.chunks.read(before.end, 1) == b"\0"
    if not whole:
        return None
    reasons = [f"its link is {looks(link.value)}, and the bytes before the block do not go on into it"]
    confidence = Confidence.GUESS
    if link.expected is not None and seen.lists.shadow(link.slot, link.bin) == link.expected:
        reasons.append("the copy of the link at the block's end is whole: only its beginning was written to")
        confidence = Confidence.LIKELY
    return Verdict(STALE, confidence, tuple(reasons))


def looks(value: int) -> str:
    """A word in words: text, a small number, a pointer."""
    raw = value.to_bytes(8, "little")
    if sum(32 <= byte < 127 for byte in raw) >= 7:
        return "text"
    if value < 1 << 32:
        return f"the number {value}" if value < 1 << 16 else f"a small number ({value:#x})"
    if len(set(raw)) == 1:
        return f"one byte repeated ({raw[0]:#04x})"
    return f"{value:#x}"
