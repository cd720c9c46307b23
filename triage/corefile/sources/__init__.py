"""Every way a core arrives: plain and compressed files, the stores of systemd-coredump, apport and ABRT.

`find` lists the inputs under some paths; `opened` makes any one of them a core file that can be read.
"""

from triage.corefile.sources.opening import Opened, opened
from triage.corefile.sources.plain import find
from triage.corefile.sources.scratch import Scratch
from triage.corefile.sources.trust import Trust

__all__ = ["find", "opened", "Opened", "Scratch", "Trust"]
