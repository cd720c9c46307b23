"""Crashes from the kernel's log alone: for hosts where no core can be had, and for when it began.

lines → kernel.py: what the kernel said of each fault   resolve.py: the very file, the function in it
        fpm.py: what php-fpm said of its workers        records.py: both joined into crash records
"""

from triage.klog.fpm import FpmExit
from triage.klog.kernel import KernelFault
from triage.klog.records import records
from triage.klog.sources import Said, is_log, read_kernel, read_log

__all__ = ["FpmExit", "KernelFault", "Said", "is_log", "read_kernel", "read_log", "records"]
