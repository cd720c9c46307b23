"""Signals that somebody sent, and limits the kernel enforces: no fault of memory at all."""

from __future__ import annotations

from triage.diagnose.case import Case, script_name
from triage.model import Confidence, Finding, Signal

_SENT = ("SI_USER", "SI_TKILL", "SI_QUEUE")


def signal_sent(case: Case) -> Finding | None:
    """The signal was sent, not caused by a bad access: si_code says so, and by whom."""
    signal = case.signal
    if signal is None or signal.sender is None or signal.code_name not in _SENT or signal.name == "SIGXFSZ":
        return None
    if signal.name == "SIGABRT" and case.pid in (None, signal.sender):
        return None  # abort() sends the signal to itself; what matters is why
    own = signal.sender == case.pid
    who = _who(case, signal)
    return Finding(
        rule="signal-sent",
        title=f"Nothing crashed by itself: {signal.name} was sent by {who}",
        confidence=Confidence.PROVED,
        evidence=(
            f"the kernel's record of the signal: si_code {signal.code_name}, sender pid {signal.sender}"
            + (f" (user {signal.sender_user})" if signal.sender_user is not None else "")
            + f", own pid {case.pid}"
            + (f", parent pid {case.parent}" if case.parent else ""),
        ),
        explanation=(
            "The kernel writes down who sends a signal. No memory was touched wrongly here: "
            + (
                "the code itself called kill() or posix_kill() on its own process."
                if own
                else "another program told this one to stop. The stack shows what it was doing at that moment, which "
                "matters if it was stuck there."
            )
        ),
        next_steps=_steps(case, signal, own=own),
    )


def _who(case: Case, signal: Signal) -> str:
    if signal.sender == case.pid:
        return "the process itself"
    if signal.sender == 1:
        return "process 1 (the system's own manager, such as systemd: a watchdog or a stop job)"
    if signal.sender == case.parent:
        manager = "php-fpm's master" if case.runtime is not None and case.runtime.worker is not None else "it"
        return f"process {signal.sender}, its own parent ({manager} started this process)"
    if signal.sender == 0:
        return "a process outside of this container, or the kernel on behalf of one"
    return f"process {signal.sender}"


def _steps(case: Case, signal: Signal, *, own: bool) -> tuple[str, ...]:
    if own:
        caller = next((frame for frame in case.script() if frame.file is not None), None)
        place = f" ({script_name(caller)} at {caller.file}:{caller.line})" if caller is not None else ""
        return (f"Look for posix_kill() or a C function that calls kill() in the stack{place}.",)
    return (
        f"Find out what process {signal.sender} was: a supervisor, a watchdog script, an OOM helper, a person "
        "(journalctl and the process accounting around the time of the crash).",
    )


def limit_reached(case: Case) -> Finding | None:
    """The kernel stopped the process because it used more than it was allowed."""
    signal = case.signal
    if signal is None or signal.name not in _LIMITS:
        return None
    if signal.name == "SIGXCPU" and signal.code_name in _SENT:
        return None
    what, setting = _LIMITS[signal.name]
    return Finding(
        rule="limit-reached",
        title=f"The kernel stopped the process: {what}",
        confidence=Confidence.PROVED,
        evidence=(f"signal {signal.name}, si_code {signal.code_name or signal.code}",),
        explanation=f"This is no fault of memory. The process ran into {setting}, and the kernel ended it for that.",
        next_steps=(f"Find where {setting} is set and whether it is meant for this process.",),
    )


_LIMITS = {
    "SIGXCPU": ("it used up its processor time", "its limit of processor seconds (ulimit -t, LimitCPU= of systemd)"),
    "SIGXFSZ": (
        "it wrote a file beyond the allowed size",
        "its limit of file size (ulimit -f, LimitFSIZE= of systemd)",
    ),
    "SIGSYS": (
        "it made a system call it is not allowed to make",
        "a system call filter (seccomp, SystemCallFilter=)",
    ),
}
