"""What a target is: one input drawn from chance, and a word for what became of it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.fuzz.mutate import mutated


class Target(ABC):
    """One target. `share` is how many inputs it takes in a turn, `cores` how many cores an input is."""

    name: ClassVar[str]
    share: ClassVar[int] = 1
    cores: ClassVar[int] = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def run(self, chance: random.Random) -> str:
        """Take one input."""

    def close(self) -> int:
        """End; the number of records that were lost."""
        return 0


class Raw(Target):
    """A parser of bytes: seeds, mutated."""

    share = 20

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seeds: Sequence[bytes] = self.begin()

    @abstractmethod
    def begin(self) -> Sequence[bytes]:
        """Good inputs."""

    @abstractmethod
    def take(self, data: bytes) -> str:
        """Parse one input."""

    def run(self, chance: random.Random) -> str:
        """See Target."""
        return self.take(mutated(chance.choice(self.seeds), chance))
