"""Everything that a core needs on another machine, in one file."""

from triage.pack.make import Packed, make_pack

__all__ = ["Packed", "make_pack"]
