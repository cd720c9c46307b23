"""SIGILL, SIGFPE, SIGTRAP and SIGBUS: faults of an instruction, of a calculation, of a mapped file."""

from __future__ import annotations

from triage.diagnose import wording
from triage.diagnose.case import EXECUTE, Case, file_name
from triage.model import Confidence, Finding


def illegal_instruction(case: Case) -> Finding | None:
    """SIGILL: a trap the compiler put there, code that is none, or a processor that lacks something."""
    signal = case.signal
    if signal is None or signal.name != "SIGILL" or signal.sender is not None:
        return None
    if case.instruction is not None and case.instruction.flow == "trap":
        return Finding(
            rule="compiler-trap",
            title="The code ran into a trap that the compiler put where it must never come",
            confidence=Confidence.PROVED,
            evidence=("the signal is SIGILL", *wording.instruction(case)),
            explanation=(
                "Compilers put this instruction behind places that cannot be reached, or where a check failed. The "
                "program came there all the same: a bug in that very function, or a jump to a wrong place."
            ),
            next_steps=("Update the library or program the innermost frame belongs to.",),
        )
    region = case.region(case.pc) if case.pc is not None else None
    code = region is not None and region.path is not None and bool(region.flags & EXECUTE)
    return Finding(
        rule="illegal-instruction",
        title="The processor does not know the instruction it was given",
        confidence=Confidence.PROVED,
        evidence=("the signal is SIGILL", *wording.instruction(case),
                  *((wording.mapping(case, case.pc),) if case.pc is not None else ())),
        explanation=(
            "Either this file was built for a newer processor than this machine (or virtual machine) has, or "
            "its code "
            "in memory is damaged, or the program jumped into the middle of something."
            if code
            else "The program jumped to something that is not code of any file."
        ),
        next_steps=("Do all crashes come from one machine? Compare /proc/cpuinfo with a machine that is fine.",),
    )  # fmt: skip


def arithmetic(case: Case) -> Finding | None:
    """SIGFPE: as a rule a whole-number division by zero."""
    signal = case.signal
    if signal is None or signal.name != "SIGFPE" or signal.sender is not None:
        return None
    divides = case.instruction is not None and "div" in case.instruction.text.split()[0]
    return Finding(
        rule="arithmetic",
        title=f"Native code{wording.where(case)} divided by zero, or a result did not fit"
        if divides
        else "Native code made a calculation the processor refuses",
        confidence=Confidence.PROVED,
        evidence=(f"the signal is SIGFPE, si_code {signal.code_name or signal.code}", *wording.instruction(case)),
        explanation=(
            f"{case.language} catches a division by zero in its own code. This one was made by C code, which "
            "trusted a number it should have checked: the innermost function is the faulty one."
        ),
        next_steps=("Look at what the innermost frame of your code was given: a zero size, count or modulus?",),
    )


def breakpoint_hit(case: Case) -> Finding | None:
    """SIGTRAP: a breakpoint or a trap instruction."""
    signal = case.signal
    if signal is None or signal.name != "SIGTRAP" or signal.sender is not None:
        return None
    return Finding(
        rule="trap",
        title="The code ran into a breakpoint or trap",
        confidence=Confidence.PROVED,
        evidence=(f"the signal is SIGTRAP, si_code {signal.code_name or signal.code}", *wording.instruction(case)),
        explanation="A debugger's breakpoint was left behind, or code raised a trap on purpose.",
        next_steps=("Was a debugger or tracer attached to the process?",),
    )


def bus_error(case: Case) -> Finding | None:
    """SIGBUS: a mapped file became shorter or could not be read, or an address is not aligned."""
    signal = case.signal
    if signal is None or signal.name != "SIGBUS" or signal.address is None:
        return None
    address = signal.address
    region = case.region(address)
    path = region.path if region is not None else None
    evidence = (f"SIGBUS, si_code {signal.code_name}, at {address:#x}", wording.mapping(case, address),
                *wording.instruction(case))  # fmt: skip
    if signal.code_name == "BUS_ADRALN":
        return Finding(
            rule="misaligned", title="An access was not aligned as the processor needs it",
            confidence=Confidence.PROVED, evidence=evidence,
            explanation="The address is mapped, but not a multiple of the size the instruction insists on.",
            next_steps=("Update the library or program the innermost frame belongs to.",),
        )  # fmt: skip
    if signal.code_name != "BUS_ADRERR" or path is None or path.startswith(("/dev/zero", "/SYSV", "/memfd:")):
        shared = path is not None
        return Finding(
            rule="bus-error", title="Memory could not be had from the system when it was first used",
            confidence=Confidence.PROVED, evidence=evidence,
            explanation=(
                "The memory was promised, but no page could be given for it"
                + (": the shared memory's file system (/dev/shm, hugepages) is full." if shared else ".")
            ),
            next_steps=("df -h /dev/shm and the container's memory limits at the time of the crash.",),
        )  # fmt: skip
    name = file_name(path)
    return Finding(
        rule="mapped-file-gone",
        title=f"The mapped file {name} became shorter, or could not be read, while the process used it",
        confidence=Confidence.PROVED,
        evidence=evidence,
        explanation=(
            f"The process read {path} as if it were memory. Where it touched it there is no file any more: the file "
            "was cut or overwritten in place (a deployment that copies over files instead of replacing them), the "
            "disk is full, or reading it failed."
        ),
        next_steps=(
            f"Who writes {path}? Let deployments put new files beside the old ones and rename them.",
            "df -h for the disk it lies on; dmesg for I/O errors.",
        ),
    )
