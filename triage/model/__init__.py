"""The records that flow through the program. Plain data: no I/O, no behaviour beyond looks.

Addresses are integers in here and become hex text only at the edge (`wire.py`, the views).
Missing is `None`; a record that lacks something says why in `Crash.warnings`.
"""

from __future__ import annotations

from triage.model.crash import (
    Cluster,
    Crash,
    CrashRow,
    Failure,
    Finding,
    Incident,
    Module,
    Outcome,
    Regrouping,
    Signal,
    Signature,
)
from triage.model.decision import Decision
from triage.model.instruction import Fault, Flip, HeapPlace, Instruction, Load, Operand
from triage.model.origin import Origin
from triage.model.runtime import (
    Fiber,
    HeapCheck,
    HeapFault,
    Hook,
    LastError,
    MemoryUse,
    Opcache,
    Request,
    Runtime,
    Worker,
)
from triage.model.setting import Change, KnownBug, Snapshot
from triage.model.stack import Argument, FiberSwitch, Frame, NativeFrame, NativeThread, ScriptFrame, Thread, Unwinding
from triage.model.words import AccessKind, Confidence, Flag, Role, State, Status, Symbols, Topic

__all__ = [
    "AccessKind",
    "Argument",
    "Change",
    "Cluster",
    "Confidence",
    "Crash",
    "CrashRow",
    "Decision",
    "Failure",
    "Fault",
    "Fiber",
    "FiberSwitch",
    "Finding",
    "Flag",
    "Flip",
    "Frame",
    "HeapCheck",
    "HeapFault",
    "HeapPlace",
    "Hook",
    "Incident",
    "Instruction",
    "KnownBug",
    "LastError",
    "Load",
    "MemoryUse",
    "Module",
    "NativeFrame",
    "NativeThread",
    "Opcache",
    "Operand",
    "Origin",
    "Outcome",
    "Regrouping",
    "Request",
    "Role",
    "Runtime",
    "ScriptFrame",
    "Signal",
    "Signature",
    "Snapshot",
    "State",
    "Status",
    "Symbols",
    "Thread",
    "Topic",
    "Unwinding",
    "Worker",
]
