"""Bad accesses to memory: what was wanted, where, and what the address tells."""

from __future__ import annotations

from triage.corefile.protocol import Region
from triage.diagnose import wording
from triage.diagnose.case import FAULTS, WRITE, Case, script_name
from triage.diagnose.wording import distance_from_null, near_null
from triage.model import AccessKind, Confidence, Fault, Finding

_HALF = 1 << 47
_MEMBER = 1024  # a member of a record that is not there: the base register has its distance already
_PAGE_REACH = 4096
_EMPTY = {"Python": "None", "Perl": "undef", "Ruby": "nil"}
_SHARED = ("/dev/zero (deleted)", "/memfd:opcache", "/SYSV")


def null_pointer(case: Case) -> Finding | None:
    """An access within 64 KiB of address 0, on either side: a field of a record that is not there."""
    address = _address(case)
    distance = distance_from_null(address) if address is not None else None
    if distance is None or _jumped(case) or case.signal is None or case.signal.code_name == "SI_KERNEL":
        return None
    fault = case.fault
    operand = fault.operand if fault is not None else None
    # The base register decides: NULL plus a field's distance, or a small number used as an address.
    null = operand is not None and operand.base_value == 0
    small = operand is not None and operand.base_value not in (None, 0)
    if small and operand is not None and not _nullish(operand.base_value or 0, distance):
        return _small_number(case, fault, distance)
    verb = {AccessKind.READ: "read from", AccessKind.WRITE: "wrote to"}.get(fault.kind, "used") if fault else "used"
    side = f"{abs(distance)} bytes {'before' if distance < 0 else 'into'}"
    return Finding(
        rule="null-pointer",
        title=f"Native code {verb} memory {near_null(distance)}, through an empty reference{wording.where(case)}"
        if distance
        else f"Native code {verb} NULL, an empty reference{wording.where(case)}",
        confidence=Confidence.PROVED if null else Confidence.LIKELY,
        evidence=(f"the faulting address is {near_null(distance)}", *wording.instruction(case)),
        explanation=(
            f'NULL stands for "nothing there", as {_EMPTY.get(case.language, "null")} does in {case.language}. C '
            "code took it for the address of something"
            + (f" and used a place {side} it" if distance else "")
            + f". In {case.language} that is an error you can catch; in C it ends the process. "
            + ("That an empty reference was used is certain; why" if null else "Why")
            + " it was empty is not in the core: mostly a case that the code did not think of, rarely memory that "
            "was damaged before."
        ),
        next_steps=(_look_at(case),),
    )  # fmt: skip


def _nullish(base: int, distance: int) -> bool:
    """Whether a base register that is not 0 still speaks of NULL: it moved along, as copying loops do."""
    found = distance_from_null(base)
    return found is not None and (found <= 0 or (found % 8 == 0 and found < _MEMBER and abs(found - distance) < 64))


def _small_number(case: Case, fault: Fault | None, distance: int) -> Finding:
    value = fault.operand.base_value if fault is not None and fault.operand is not None else None
    return Finding(
        rule="small-integer",
        title=f"A plain number ({value}) was used where the address of something was expected{wording.where(case)}",
        confidence=Confidence.LIKELY,
        evidence=(f"the faulting address is {near_null(distance)}", *wording.instruction(case)),
        explanation=(
            "No memory lies at such small addresses. The code took a number (a length, a counter, an int) for an "
            "address: one kind of value was taken for another, or a variable was overwritten."
        ),
        next_steps=(_look_at(case),),
    )


def bad_jump(case: Case) -> Finding | None:
    """The program was sent to a place that is no code: through a damaged or empty function pointer, or return "
    "address."""
    fault = case.fault
    if not _jumped(case) or fault is None:
        return None
    address = fault.address
    distance = distance_from_null(address)
    region = case.region(address)
    returned = fault.arrival == "return"
    how = {"return": "returned to", "call": "called"}.get(fault.arrival or "", "jumped to")
    if distance is not None:
        title, kind = f"Native code {how} NULL as if it were code", "an empty function reference"
    elif region is None:
        title, kind = (
            f"Native code {how} an address where there is nothing",
            "a function reference that holds garbage",
        )
    else:
        title, kind = f"Native code {how} data as if it were code", "a function reference that points to data"
    gone = case.module_at(address)
    return Finding(
        rule="bad-jump",
        title=title,
        confidence=Confidence.PROVED,
        evidence=(
            f"the processor was to fetch its next instruction at {address:#x}",
            wording.mapping(case, address) if distance is None else f"that is {near_null(distance)}",
            *wording.instruction(case),
            *_from_where(case),
        ),
        explanation=(
            f"C code calls many functions through references kept in memory. Here it followed {kind}. "
            + (
                "Either a module did not set it, or the memory that held it was overwritten or already given back."
                if not returned
                else "The return address on the stack was overwritten: a local buffer was overrun."
            )
        ),
        next_steps=(
            "Were extensions or libraries updated while this process ran? Restart it."
            if gone is not None and gone.deleted
            else "Compare several crashes: the same address each time means an unset reference, different ones mean "
            "damaged memory.",
        ),
    )


def _from_where(case: Case) -> tuple[str, ...]:
    caller = next((frame for frame in list(case.native())[1:] if frame.function), None)
    return (f"the innermost function that is known is {caller.function}()",) if caller is not None else ()


def misaligned(case: Case) -> Finding | None:
    """An aligned move on an address that is not aligned: x86 reports it like an impossible address."""
    fault = case.fault
    if fault is None or not fault.misaligned:
        return None
    size = fault.operand.size if fault.operand else 16
    return Finding(
        rule="misaligned",
        title=f"An access was not aligned as the processor needs it{wording.where(case)}",
        confidence=Confidence.PROVED,
        evidence=(f"{fault.address:#x} is not a multiple of {size}, and it is mapped", *wording.instruction(case)),
        explanation=(
            "The instruction insists on an address that is a multiple of its size. Code was built on the "
            "promise that "
            "this holds (an aligned stack, an aligned block), and somebody broke it."
        ),
        next_steps=("Update the library, extension or program that the innermost frames belong to.",),
    )


def impossible_address(case: Case) -> Finding | None:
    """Non-canonical addresses, and those that belong to the kernel."""
    signal, fault = case.signal, case.fault
    if signal is None or signal.name not in FAULTS or signal.sender is not None:
        return None
    if signal.code_name == "SI_KERNEL":
        if fault is None and case.instruction is not None and case.instruction.flow == "privileged":
            return _privileged(case)
        return _garbage(case, fault)
    address = _address(case)
    if address is None or address < _HALF or case.machine != "x86_64" or case.region(address) is not None:
        return None
    return Finding(
        rule="kernel-address",
        title=f"Native code used an address that belongs to the kernel{wording.where(case)}",
        confidence=Confidence.PROVED,
        evidence=(f"the faulting address is {address:#x}", *wording.instruction(case)),
        explanation=(
            "No program may touch such addresses, and no correct one holds them. The value is garbage: a negative "
            "number taken for an address, or memory that was overwritten."
        ),
        next_steps=(_look_at(case),),
    )


def _garbage(case: Case, fault: Fault | None) -> Finding:
    where = f"{fault.address:#x}" if fault is not None else "one that the kernel does not tell"
    # Only an address is proved; without one the kernel's word has more than one meaning.
    return Finding(
        rule="non-canonical",
        title=f"Native code used an address that cannot exist{wording.where(case)}",
        confidence=Confidence.PROVED if fault is not None else Confidence.LIKELY,
        evidence=(
            f"si_code SI_KERNEL: the processor refused the access without looking at any memory; the address is "
            f"{where}",
            *wording.instruction(case),
        ),
        explanation=(
            "The value that was used as an address is garbage: no memory can ever be there. Something else was "
            "written where the address should be, or it was never set."
        ),
        next_steps=(_look_at(case),),
    )


def _privileged(case: Case) -> Finding:
    return Finding(
        rule="illegal-instruction",
        title="The program ran into an instruction that only the kernel may use",
        confidence=Confidence.PROVED,
        evidence=("si_code SI_KERNEL", *wording.instruction(case)),
        explanation=(
            "Compilers and C libraries use it to stop at a place that must never be reached; otherwise the program "
            "jumped to a wrong place."
        ),
        next_steps=("Update the library or program the innermost frame belongs to.",),
    )


def forbidden(case: Case) -> Finding | None:
    """The memory is there, but may not be used that way (SEGV_ACCERR)."""
    signal, address = case.signal, _address(case)
    if signal is None or address is None or signal.code_name != "SEGV_ACCERR":
        return None
    region = case.region(address)
    writes = case.fault is not None and case.fault.kind in (AccessKind.WRITE, AccessKind.BOTH)
    evidence = (f"the access to {address:#x} was refused (SEGV_ACCERR)", wording.mapping(case, address),
                *wording.instruction(case))  # fmt: skip
    if region is not None and not region.flags:
        return _guard(case, evidence)
    if region is None or not writes or region.flags & WRITE:
        return Finding(
            rule="forbidden-access", title=f"Native code used memory in a way it may not{wording.where(case)}",
            confidence=Confidence.PROVED, evidence=evidence,
            explanation="The memory is there, but its protection does not allow this use.",
            next_steps=(_look_at(case),),
        )  # fmt: skip
    return _read_only(case, region, evidence)


def _read_only(case: Case, region: Region, evidence: tuple[str, ...]) -> Finding:
    shared = region.path is not None and region.path.startswith(_SHARED)
    what = "the protected shared memory of opcache" if shared else "read-only memory"
    return Finding(
        rule="write-to-code-cache" if shared else "write-to-read-only",
        title=f"Native code tried to change {what}{wording.where(case)}",
        confidence=Confidence.PROVED,
        evidence=evidence,
        explanation=(
            "opcache shares compiled scripts between all workers, and protect_memory keeps that memory locked while "
            "PHP runs. The code on this stack tried to change it: it is the culprit, caught in the act."
            if shared
            else "Constants and code lie in memory that nobody may change. The code on this stack tried to: it "
            "holds a "
            "wrong address, or changes something it was only lent."
        ),
        next_steps=("The innermost frames are the place to look at." if shared else _look_at(case),),
    )


def _guard(case: Case, evidence: tuple[str, ...]) -> Finding:
    return Finding(
        rule="guard-page",
        title=f"Native code ran into a guard page{wording.where(case)}",
        confidence=Confidence.PROVED,
        evidence=evidence,
        explanation=(
            "A range that nobody may touch is put beside stacks and some buffers to catch code that goes past their "
            "end. Something went past an end here."
        ),
        next_steps=(_look_at(case),),
    )


def wild_access(case: Case) -> Finding | None:
    """An address where nothing is mapped at all."""
    signal, address = case.signal, _address(case)
    if signal is None or address is None or signal.name != "SIGSEGV":
        return None
    fault = case.fault
    kind = fault.kind if fault is not None else None
    rule, verb = {
        AccessKind.READ: ("wild-read", "read from"),
        AccessKind.WRITE: ("wild-write", "wrote to"),
        AccessKind.BOTH: ("wild-write", "changed"),
    }.get(kind or AccessKind.EXECUTE, ("wild-access", "used"))
    past = _just_past(case, address)
    return Finding(
        rule=rule,
        title=f"Native code {verb} an address where there is no memory{wording.where(case)}",
        confidence=Confidence.PROVED,
        evidence=(wording.mapping(case, address), *wording.instruction(case), *past),
        explanation=(
            f"A reference inside {case.language}, an extension or a library held a wrong address. "
            + (
                "It is just past the end of memory that is there, so the code may have run off the end of a buffer. "
                if past
                else ""
            )
            + "Often such a value was damaged earlier by other code, so the function that died may be the victim and "
            "not the cause."
        ),
        next_steps=(_look_at(case),),
    )


def _just_past(case: Case, address: int) -> tuple[str, ...]:
    before = case.region(address - 1) or case.region((address & ~(_PAGE_REACH - 1)) - 1)
    operand = case.fault.operand if case.fault is not None else None
    if before is None or address - before.end >= _PAGE_REACH or operand is None:
        return ()
    # Only a copying loop's own pointer, or one well inside, speaks of running off an end.
    if address != before.end and not (operand.base_value and before.start <= operand.base_value <= before.end):
        return ()
    return (f"the memory before it ends at {before.end:#x}, {address - before.end} bytes before the address",)


def _jumped(case: Case) -> bool:
    return case.fault is not None and case.fault.kind is AccessKind.EXECUTE


def _address(case: Case) -> int | None:
    signal = case.signal
    if signal is None or signal.name not in FAULTS or signal.sender is not None or signal.code_name == "SI_KERNEL":
        return None
    return signal.address


def _look_at(case: Case) -> str:
    """Where a PHP developer should look first."""
    frame = next(case.script(), None)
    if frame is None:
        return "Compare with the other crashes: what do they share?"
    own = next((item for item in case.script() if item.file is not None), None)
    place = f" at {own.file}:{own.line}" if own is not None else ""
    if frame.class_name == "FFI":
        return f"PHP called the C function {frame.function}() through FFI{place}: check what that call passes."
    return (
        f"Look at {script_name(frame)}{place}, the last {case.language} code before the fault: what do the crashes "
        "that go through it share (input, options, time)?"
    )
