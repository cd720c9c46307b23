"""Would a crash here leave a usable core? Facts from /proc, the kernel's own rules, and the exact fix of each gap.

processes → the facts of each php-fpm process        predict → what the kernel would do
place     → where its core would go, seen as it      checks  → PASS, WARN, FAIL, each with its fix
"""

from triage.doctor.check import Check, Grade
from triage.doctor.checks import Report, examine, machine
from triage.doctor.host import Host, read_host
from triage.doctor.predict import Prediction, predict
from triage.doctor.processes import Process, php_processes, read_process
from triage.doctor.tools import tools

__all__ = [
    "Check", "Grade", "Host", "Prediction", "Process", "Report", "examine", "machine", "php_processes", "predict",
    "read_host", "read_process", "tools",
]  # fmt: skip
