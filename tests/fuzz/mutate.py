"""Changes that break parsers, drawn from a seeded source of chance."""

from __future__ import annotations

import random
from collections.abc import Sequence

_WORDS = (
    0, 1, 7, 8, 0x3F, 0x7F, 0x80, 0xFF, 0xFFF, 0x1000, 0xFFFF, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
    1 << 32, 1 << 40, 1 << 47, (1 << 47) - 8, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1,
)  # fmt: skip

Patch = tuple[int, bytes]


def patches(size: int, chance: random.Random, hot: Sequence[range] = (), like: bytes = b"") -> list[Patch]:
    """Places and the bytes to put there, within `size`; most of them in the `hot` ranges.

    `like` are bytes of the input: words of it are put elsewhere, which makes cycles out of pointers.
    """
    found = []
    for _ in range(chance.choice((1, 1, 2, 3, 5, 10, 50))):
        area = chance.choice(hot) if hot and chance.random() < 0.9 else range(size)
        at = chance.randrange(area.start, max(area.start + 1, area.stop))
        found.append(_patch(at, chance, like))
    return [(at, raw[: size - at]) for at, raw in found if at < size]


def _patch(at: int, chance: random.Random, like: bytes) -> Patch:
    kind = chance.randrange(6)
    if kind == 0:
        return at, bytes([chance.randrange(256)])
    if kind == 1:
        return at & ~7, chance.choice(_WORDS).to_bytes(8, "little")
    if kind == 2:
        return at & ~3, (chance.choice(_WORDS) & 0xFFFFFFFF).to_bytes(4, "little")
    if kind == 3 and len(like) >= 16:
        from_ = chance.randrange(0, len(like) - 8) & ~7
        return at & ~7, like[from_ : from_ + 8]
    if kind == 4:
        return at, bytes(chance.choice((8, 64, 512)))
    return at, chance.randbytes(chance.choice((1, 2, 8, 64)))


def mutated(data: bytes, chance: random.Random, hot: Sequence[range] = ()) -> bytes:
    """The data with some patches; at times cut, stretched or with a piece repeated."""
    found = bytearray(data)
    for at, raw in patches(len(found), chance, hot, data) if found else ():
        found[at : at + len(raw)] = raw
    turn = chance.random()
    if turn < 0.15:
        del found[chance.randrange(len(found) + 1) :]
    elif turn < 0.25 and found:
        start = chance.randrange(len(found))
        piece = found[start : start + chance.choice((1, 16, 200))]
        found[start:start] = piece * chance.choice((1, 2, 100))
    elif turn < 0.3 and found:
        start = chance.randrange(len(found))
        del found[start : start + chance.choice((1, 4, 64))]
    return bytes(found)
