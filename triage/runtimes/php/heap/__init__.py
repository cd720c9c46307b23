"""A walk through PHP's own heap (ZendMM), for whatever in it contradicts itself."""

from __future__ import annotations

from triage.runtimes.php.heap.check import check_heap
from triage.runtimes.php.heap.garbage import check_roots
from triage.runtimes.php.heap.objects import check_objects
from triage.runtimes.php.heap.shape import Shape, calibrate

__all__ = ["Shape", "calibrate", "check_heap", "check_objects", "check_roots"]
