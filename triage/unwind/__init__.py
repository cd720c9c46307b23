"""The native stack read straight from the core, by the unwind tables of the files that were mapped.

It gives the program counters GDB would give, or says why it leaves the question to GDB.
"""

from triage.unwind.tables import Spot, Tables
from triage.unwind.walk import Bounds, Place, Walk, walk_threads

__all__ = ["walk_threads", "Walk", "Place", "Bounds", "Spot", "Tables"]
