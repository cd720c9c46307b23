"""A batch that another program watches and steers: the terminal interface.

It says `step DONE TOTAL` on stderr before the first input and after each, pauses before the next input on SIGUSR1,
goes on on SIGUSR2, and stops before the next on SIGINT; a second SIGINT ends it at once. Inputs that came back from a
worker together are stored together: it pauses and stops after the last of them.
"""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import Self

_TICK = 0.1


class Steering:
    """The signals' state."""

    def __init__(self, total: int) -> None:
        self._paused = self._stopped = False
        self._done, self._total = 0, total
        signal.signal(signal.SIGUSR1, self._pause)
        signal.signal(signal.SIGUSR2, self._go_on)
        signal.signal(signal.SIGINT, self._stop)
        self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def step(self) -> None:
        """One input is done."""
        self._done += 1
        self._say()

    def may_go_on(self) -> bool:
        """Waits while it is paused; False when the batch is to end here."""
        while self._paused and not self._stopped:
            time.sleep(_TICK)
        return not self._stopped

    def _say(self) -> None:
        print(f"step {self._done} {self._total}", file=sys.stderr, flush=True)

    def _pause(self, _number: int, _frame: FrameType | None) -> None:
        self._paused = True

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        self._paused = False

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopped:
            raise KeyboardInterrupt
        self._stopped = True
