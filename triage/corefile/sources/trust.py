"""Whose files are opened where anybody may put one.

In a folder that everybody can write to, a name proves nothing: a link may lead to a file its maker
cannot read, and a file may be made to attack whoever opens it.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from triage.corefile.mapped import open_regular
from triage.errors import InputError

_FIRST_PERSON = 1000
"""User ids below belong to the system and its services (Debian policy, 9.2.2)."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose files count in folders that everybody can write to, beside root's, our own and services'.

    `everywhere` lifts the rule: for an input that a person named.
    """

    owners: frozenset[int] = frozenset()
    everywhere: bool = False

    def open(self, path: Path) -> int:
        """Open a regular file that may be trusted, and return its descriptor.

        Raises:
            InputError: `foreign-link` or `foreign-owner`; else as `mapped.open_regular`.
        """
        if self.everywhere or not world_writable(path.parent):
            return open_regular(path)
        if path.is_symlink():
            raise InputError(
                "foreign-link",
                f"a symbolic link in {path.parent}, where everybody can make one: not followed",
                help="Name the file it leads to.",
            )
        descriptor = open_regular(path, follow=False)
        owner = os.fstat(descriptor).st_uid
        if not self._trusts(owner):
            os.close(descriptor)
            raise InputError(
                "foreign-owner",
                f"not read: it belongs to {user_name(owner)}, and everybody can put files into {path.parent}",
                help=f"If that user may be trusted: --owner {user_name(owner)}",
            )
        return descriptor

    def _trusts(self, owner: int) -> bool:
        return owner < _FIRST_PERSON or owner == os.geteuid() or owner in self.owners


def world_writable(folder: Path) -> bool:
    """Whether everybody may put files into the folder."""
    try:
        return bool(folder.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return False  # then opening the file in it fails and says why


def user_name(user: int) -> str:
    """The user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
