"""The records that flow through the program. Plain data: no I/O, no behaviour beyond looks.

Addresses are integers in here and become hex text only at the edge (`wire.py`, the views).
Missing is `None`; a record that lacks something says why in `Crash.warnings`.
"""

from __future__ import annotations

from triage.model.crash import Change, Cluster, Crash, CrashRow, Failure, Finding, Module, Outcome, Signal, Signature
from triage.model.instruction import Fault, Flip, HeapPlace, Instruction, Load, Operand
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
from triage.model.stack import Argument, FiberSwitch, Frame, NativeFrame, NativeThread, ScriptFrame, Thread, Unwinding
from triage.model.words import AccessKind, Confidence, Role, State, Status, Symbols, Topic

__all__ = [
    "AccessKind",
    "Argument",
    "Change",
    "Cluster",
    "Confidence",
    "Crash",
    "CrashRow",
    "Failure",
    "Fault",
    "Fiber",
    "FiberSwitch",
    "Finding",
    "Flip",
    "Frame",
    "HeapCheck",
    "HeapFault",
    "HeapPlace",
    "Hook",
    "Instruction",
    "LastError",
    "Load",
    "MemoryUse",
    "Module",
    "NativeFrame",
    "NativeThread",
    "Opcache",
    "Operand",
    "Outcome",
    "Request",
    "Role",
    "Runtime",
    "ScriptFrame",
    "Signal",
    "Signature",
    "State",
    "Status",
    "Symbols",
    "Thread",
    "Topic",
    "Unwinding",
    "Worker",
]
