"""A core read without a debugger. `open_core` is the door."""

from triage.corefile.core import CoreFile, open_core, read_core
from triage.corefile.protocol import Memory

__all__ = ["open_core", "read_core", "CoreFile", "Memory"]
