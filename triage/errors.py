"""The exceptions a user may meet.

Each carries three things: what happened (the message), what to do (`help`), and the
exit status the command ends with when nobody handles it (docs: CONTRACT, "Exit status").

    TriageError
    ├── UsageError            2  the command line or a setting is wrong
    ├── EnvironmentLacks      3  a program or permission is missing on this machine
    ├── Busy                 75  another run holds the lock
    └── InputError            1  one input cannot be triaged; the rest can
"""

from __future__ import annotations

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_BUSY = 75


class TriageError(Exception):
    """Base of all errors whose text is meant for the user."""

    exit_status = EXIT_SOME_FAILED

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


class UsageError(TriageError):
    """The command line or a setting is wrong."""

    exit_status = EXIT_USAGE


class EnvironmentLacks(TriageError):
    """Something this machine lacks; `help` says what to install or change."""

    exit_status = EXIT_ENVIRONMENT


class Busy(TriageError):
    """Another run holds the lock on this store."""

    exit_status = EXIT_BUSY


class InputError(TriageError):
    """One input that cannot be triaged.

    `code` is a stable short word for programs (`empty`, `not-a-core`, `fifo`, …).
    """

    def __init__(self, code: str, message: str, *, help: str | None = None) -> None:
        super().__init__(message, help=help)
        self.code = code
