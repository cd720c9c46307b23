"""A walk through PHP's own heap (ZendMM), for whatever in it contradicts itself."""

from __future__ import annotations

from triage.runtimes.php.heap.check import Walked, check_heap
from triage.runtimes.php.heap.garbage import KnownPlaces, check_roots, find_roots
from triage.runtimes.php.heap.objects import check_objects
from triage.runtimes.php.heap.shape import Shape, calibrate
from triage.runtimes.php.heap.whereis import whereis

__all__ = [
    "KnownPlaces",
    "Shape",
    "Walked",
    "calibrate",
    "check_heap",
    "check_objects",
    "check_roots",
    "find_roots",
    "whereis",
]
