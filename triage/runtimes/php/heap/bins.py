"""The size classes of PHP's allocator, the same in every version since 7.0 (Zend/zend_alloc_sizes.h)."""

from __future__ import annotations

from typing import NamedTuple

PAGE = 4096
CHUNK = 2 * 1024 * 1024
PAGES = CHUNK // PAGE


class Bin(NamedTuple):
    """One class: blocks of `size` bytes, `blocks` of them in a run of `pages` pages."""

    size: int
    blocks: int
    pages: int


BINS = tuple(
    Bin(*row)
    for row in (
        (8, 512, 1), (16, 256, 1), (24, 170, 1), (32, 128, 1), (40, 102, 1), (48, 85, 1), (56, 73, 1), (64, 64, 1),
        (80, 51, 1), (96, 42, 1), (112, 36, 1), (128, 32, 1), (160, 25, 1), (192, 21, 1), (224, 18, 1), (256, 16, 1),
        (320, 64, 5), (384, 32, 3), (448, 9, 1), (512, 8, 1), (640, 32, 5), (768, 16, 3), (896, 9, 2), (1024, 8, 2),
        (1280, 16, 5), (1536, 8, 3), (1792, 16, 7), (2048, 8, 4), (2560, 8, 5), (3072, 4, 3),
    )
)  # fmt: skip
