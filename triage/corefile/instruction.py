"""Decodes the instruction a thread stood at: what it reads, what it writes, where it jumps.

A core does not say whether the faulting access was a read or a write: the processor's error code
is only in the kernel's log. So the instruction itself is decoded (by capstone) and its operands
are worked out from the registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

import capstone
from capstone import arm64, x86

from triage.corefile.protocol import Memory
from triage.model import AccessKind, Instruction, Load, Operand

_MASK = (1 << 64) - 1
_LONGEST = 15
_MOST_BACK = 4096
_MOST_STEPS = 40
_MOST_DEPTH = 3
_MOST_STATE = 4096  # what instructions that save the processor's state may write; they tell no size
# Instructions whose first operand is read although it comes first; in all others it is written to.
_READS_FIRST = frozenset(
    "cmp test bt push call jmp mul div idiv ucomiss ucomisd comiss comisd vucomiss vucomisd vcomiss vcomisd ptest "
    "vptest ldmxcsr vldmxcsr prefetcht0 prefetcht1 prefetcht2 prefetchnta prefetchw fld fild fadd fsub fmul fdiv "
    "fcom fcomp fldcw fldenv frstor cmpsb cmpsw cmpsd cmpsq scasb scasw scasd scasq lodsb lodsw lodsd lodsq "
    "outsb outsd verr verw "
    "fxrstor fxrstor64 xrstor xrstor64 lgdt lidt".split()
)
_ADDRESS_ONLY = frozenset("lea nop prefetcht0 prefetcht1 prefetcht2 prefetchnta prefetchw prefetch clflush".split())
# Moves that fault unless the address is a multiple of the operand's size.
_ALIGNED = frozenset(
    "movaps movapd movdqa movntps movntpd movntdq movntdqa vmovaps vmovapd vmovdqa vmovdqa32 vmovdqa64 vmovntps "
    "vmovntpd vmovntdq vmovntdqa".split()
)
_TRAPS = frozenset("ud0 ud1 ud2 int3 int brk udf".split())
_PRIVILEGED = frozenset("hlt cli sti in out insb insd outsb outsd rdmsr wrmsr lgdt lidt invlpg wbinvd".split())


@cache
def _disassembler(machine: str) -> capstone.Cs | None:
    kinds = {
        "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
    }
    if machine not in kinds:
        return None
    found = capstone.Cs(*kinds[machine])
    found.detail = True
    return found


def decode(memory: Memory, machine: str | None, registers: Mapping[str, int], pc: int) -> Instruction | None:
    """The instruction at `pc`, its operands worked out from `registers`; `None` where there is no code to read."""
    raw = next((found for size in range(_LONGEST, 0, -1) if (found := memory.read(pc, size))), None)
    there = _anywhere(raw) if raw and machine == "x86_64" else None
    if there is not None:
        return _X86(there, registers, memory, pc).instruction()
    one = _first(machine or "", raw, pc) if raw else None
    if one is None:
        return None
    decoder = _X86 if machine == "x86_64" else _Aarch64
    return decoder(one, registers, memory).instruction()


def loaded_from(
    memory: Memory, machine: str | None, registers: Mapping[str, int], start: int, pc: int, register: str
) -> Load | None:
    """Where the value of `register` at `pc` was read from, by the code of its function before `pc`.

    Registers that the way there changed are worked out from what was read into them. Only said when
    memory still has the very value there: then the reading is confirmed by the core.
    """
    if machine != "x86_64" or not pc - start > 0:
        return None
    start = max(start, pc - _MOST_BACK)
    raw = memory.read(start, pc - start)
    before = list(_each(machine, raw, start)) if raw else []
    found = _History(before, registers, memory).load(register, len(before), 0)
    if found is None or memory.read(found.address, 8) != _bytes(registers.get(register)):
        return None
    return found


class _History:
    """The straight run of instructions before a fault, read backwards."""

    def __init__(self, before: Sequence[capstone.CsInsn], registers: Mapping[str, int], memory: Memory) -> None:
        self._before = before
        self._registers = registers
        self._memory = memory

    def load(self, register: str, end: int, depth: int) -> Load | None:
        """The instruction before `end` that read the register's value from memory."""
        for at in range(end - 1, max(-1, end - 1 - _MOST_STEPS), -1):
            one = self._before[at]
            if one.mnemonic.startswith(("j", "call", "ret")):
                return None  # what happened on the way is not known
            if register not in _X86(one, {}, self._memory).written():
                continue
            return self._read(one, at, depth) if one.mnemonic == "mov" else None
        return None

    def _read(self, one: capstone.CsInsn, at: int, depth: int) -> Load | None:
        decoder = _X86(one, self._at(at, one, depth), self._memory)
        operand = next(iter(decoder.operands()), None)
        if operand is None or operand.size != 8 or operand.kind is not AccessKind.READ:
            return None
        register = next(iter(decoder.written()))
        return Load(register=register, address=operand.address, text=decoder.text, at=one.address)

    def _at(self, at: int, one: capstone.CsInsn, depth: int) -> dict[str, int]:
        """The registers the instruction read, as they were before it."""
        found = {}
        used = {_whole(one.reg_name(number)) for number in one.regs_access()[0]}
        for name in used:
            later = any(name in _X86(other, {}, self._memory).written() for other in self._before[at:])
            if not later:
                if name in self._registers:
                    found[name] = self._registers[name]
            elif depth < _MOST_DEPTH:
                earlier = self.load(name, at, depth + 1)
                raw = self._memory.read(earlier.address, 8) if earlier else None
                if raw:
                    found[name] = int.from_bytes(raw, "little")
        return found


def _bytes(value: int | None) -> bytes:
    return value.to_bytes(8, "little") if value is not None else b""


@lru_cache(maxsize=256)
def _first(machine: str, raw: bytes, pc: int) -> capstone.CsInsn | None:
    """The instruction the code at `pc` begins with: the workers of one master die at the very same."""
    return next(_each(machine, raw, pc), None)


@lru_cache(maxsize=256)
def _anywhere(raw: bytes) -> capstone.CsInsn | None:
    """The same where it says nothing of its own place, as all but relative jumps and calls do: decoded at 0."""
    one = next(_each("x86_64", raw, 0), None)
    return one if one is not None and x86.X86_GRP_BRANCH_RELATIVE not in one.groups else None


def _each(machine: str, raw: bytes, address: int) -> Iterator[capstone.CsInsn]:
    found = _disassembler(machine)
    return iter(found.disasm(raw, address)) if found is not None else iter(())


class _X86:
    """One x86-64 instruction with the registers it ran on; `at` is its address where it was decoded for no place."""

    def __init__(
        self, one: capstone.CsInsn, registers: Mapping[str, int], memory: Memory, at: int | None = None
    ) -> None:
        self._one = one
        self._at = int(one.address) if at is None else at
        self._registers = registers
        self._memory = memory
        self._name = one.mnemonic.split()[-1]
        self.text = f"{one.mnemonic} {one.op_str}".strip()

    def instruction(self) -> Instruction:
        one = self._one
        return Instruction(
            address=self._at, text=self.text, size=one.size, flow=self._flow(), target=self._target(),
            operands=tuple(self.operands()),
        )  # fmt: skip

    def written(self) -> frozenset[str]:
        """The 64-bit registers this instruction changes."""
        _, changed = self._one.regs_access()
        return frozenset(_whole(self._one.reg_name(number)) for number in changed)

    def _flow(self) -> str | None:
        groups = self._one.groups
        if self._name in _TRAPS:
            return "trap"
        if self._name in _PRIVILEGED:
            return "privileged"
        for group, word in ((x86.X86_GRP_CALL, "call"), (x86.X86_GRP_JUMP, "jump"), (x86.X86_GRP_RET, "return")):
            if group in groups:
                return word
        return None

    def operands(self) -> Iterator[Operand]:
        """What it wants from memory: the written operands first, then the stack it uses without saying so."""
        if self._name not in _ADDRESS_ONLY:
            for at, item in enumerate(self._one.operands):
                if item.type == x86.X86_OP_MEM:
                    operand = self._operand(at, item)
                    if operand is not None:
                        yield operand
        yield from self._stack()

    def _operand(self, at: int, item: x86.X86Op) -> Operand | None:
        place = item.mem
        base = self._one.reg_name(place.base) if place.base else None
        index = self._one.reg_name(place.index) if place.index else None
        segment = self._one.reg_name(place.segment) if place.segment else None
        value = self._value(base)
        parts = [value, self._value(index)]
        if None in parts:
            return None  # such as an index of a vector register
        start = sum(part * by for part, by in zip(parts, (1, place.scale), strict=True) if part is not None)
        if segment in ("fs", "gs"):
            start += self._registers.get(f"{segment}_base", 0)
        return Operand(
            text=_place(base, index, place.scale, place.disp),
            kind=self._kind(at, item),
            address=(start + place.disp) & _MASK,
            size=0 if self._name.startswith(("xsave", "fxsave", "xrstor", "fxrstor")) else item.size,
            base=base,
            base_value=value if base else None,
            displacement=place.disp,
            aligned=self._name in _ALIGNED or (item.size == 16 and self._sse()),
        )

    def _sse(self) -> bool:
        """Whether this is an SSE instruction of the kind that insists on alignment (all but the `u` moves)."""
        unaligned = "mov" in self._name and ("u" in self._name or self._name.startswith("v"))
        return not self._name.startswith(("v", "lddqu", "rep", "cmpxchg", "mov")) and not unaligned and any(
            self._one.reg_name(op.reg).startswith("xmm") for op in self._one.operands if op.type == x86.X86_OP_REG
        )  # fmt: skip

    def _kind(self, at: int, item: x86.X86Op) -> AccessKind:
        if self._name.startswith(("cmpxchg", "xadd", "xchg")):
            return AccessKind.BOTH
        if item.access == capstone.CS_AC_READ | capstone.CS_AC_WRITE:
            return AccessKind.BOTH
        # The decoder calls some stores of wide registers reads; what comes first is written to all the same.
        if at == 0 and self._name not in _READS_FIRST:
            return AccessKind.WRITE
        return AccessKind.READ

    def _stack(self) -> Iterator[Operand]:
        """Calls and pushes write below the stack pointer, returns and pops read at it."""
        pointer = self._registers.get("rsp")
        if pointer is None:
            return
        if self._name in ("call", "push", "pushfq", "enter"):
            below = (pointer - 8) & _MASK
            yield Operand(text="[rsp - 8]", kind=AccessKind.WRITE, address=below, size=8, base="rsp",
                          base_value=pointer, displacement=-8)  # fmt: skip
        elif self._name in ("ret", "pop", "popfq"):
            yield Operand(text="[rsp]", kind=AccessKind.READ, address=pointer, size=8, base="rsp",
                          base_value=pointer)  # fmt: skip
        elif self._name == "leave":
            frame = self._registers.get("rbp", pointer)
            yield Operand(text="[rbp]", kind=AccessKind.READ, address=frame, size=8, base="rbp", base_value=frame)

    def _target(self) -> int | None:
        flow = self._flow()
        if flow == "return":
            return self._word(self._registers.get("rsp"))
        if flow not in ("call", "jump") or not self._one.operands:
            return None
        item = self._one.operands[0]
        if item.type == x86.X86_OP_IMM:
            return int(item.imm) & _MASK
        if item.type == x86.X86_OP_REG:
            return self._registers.get(self._one.reg_name(item.reg))
        operand = self._operand(0, item)
        return self._word(operand.address) if operand else None

    def _word(self, address: int | None) -> int | None:
        raw = self._memory.read(address, 8) if address is not None else None
        return int.from_bytes(raw, "little") if raw else None

    def _value(self, register: str | None) -> int | None:
        if register is None:
            return 0
        if register == "rip":
            return self._at + int(self._one.size)
        found = self._registers.get(_whole(register))
        return found & 0xFFFF_FFFF if found is not None and register != _whole(register) else found


def _place(base: str | None, index: str | None, scale: int, displacement: int) -> str:
    parts = [base or "", f"{index}*{scale}" if index else ""]
    text = " + ".join(part for part in parts if part)
    if displacement or not text:
        sign = ("- " if displacement < 0 else "+ ") if text else ""
        text = f"{text} {sign}{abs(displacement):#x}".strip()
    return f"[{text}]"


_NARROW = {
    f"{narrow}": wide
    for wide, narrows in {
        "rax": "eax ax al ah", "rbx": "ebx bx bl bh", "rcx": "ecx cx cl ch", "rdx": "edx dx dl dh",
        "rsi": "esi si sil", "rdi": "edi di dil", "rbp": "ebp bp bpl", "rsp": "esp sp spl",
    }.items()
    for narrow in narrows.split()
} | {f"r{n}{letter}": f"r{n}" for n in range(8, 16) for letter in "dwb"}  # fmt: skip


def _whole(register: str) -> str:
    """The 64-bit register a part belongs to: `eax` → `rax`."""
    return _NARROW.get(register, register)


class _Aarch64:
    """One AArch64 instruction. Loads and stores name their direction; all have one memory operand."""

    def __init__(self, one: capstone.CsInsn, registers: Mapping[str, int], memory: Memory) -> None:
        self._one = one
        self._registers = registers

    def instruction(self) -> Instruction:
        one = self._one
        return Instruction(
            address=one.address, text=f"{one.mnemonic} {one.op_str}".strip(), size=one.size, flow=self._flow(),
            target=self._target(), operands=tuple(self._operands()),
        )  # fmt: skip

    def _flow(self) -> str | None:
        name = self._one.mnemonic
        if name in _TRAPS:
            return "trap"
        if name == "ret":
            return "return"
        if name in ("bl", "blr", "blraa", "blraaz"):
            return "call"
        return "jump" if name in ("b", "br", "braa") else None

    def _target(self) -> int | None:
        if self._flow() == "return" and not self._one.operands:
            return self._registers.get("x30")
        item = self._one.operands[0] if self._flow() and self._one.operands else None
        if item is None:
            return None
        if item.type == arm64.ARM64_OP_IMM:
            return int(item.imm) & _MASK
        return self._registers.get(self._one.reg_name(item.reg))

    def _operands(self) -> Iterator[Operand]:
        for item in self._one.operands:
            if item.type != arm64.ARM64_OP_MEM:
                continue
            base = self._one.reg_name(item.mem.base) if item.mem.base else None
            value = self._registers.get(_arm(base)) if base else 0
            index = self._registers.get(_arm(self._one.reg_name(item.mem.index))) if item.mem.index else 0
            if value is None or index is None:
                continue
            store = self._one.mnemonic.startswith(("st", "cas", "swp"))
            yield Operand(
                text=_place(base, self._one.reg_name(item.mem.index) if item.mem.index else None, 1, item.mem.disp),
                kind=AccessKind.WRITE if store else AccessKind.READ,
                address=(value + index + item.mem.disp) & _MASK,
                size=0,
                base=base,
                base_value=value if base else None,
                displacement=item.mem.disp,
            )


def _arm(register: str | None) -> str:
    return {"fp": "x29", "lr": "x30"}.get(register or "", register or "")


def follows_call(memory: Memory, machine: str | None, address: int) -> bool:
    """Whether an instruction that calls ends right before `address`."""
    for size in range(2, 8):
        raw = memory.read(address - size, size)
        one = next(_each(machine or "", raw, address - size), None) if raw else None
        if one is not None and one.size == size and one.mnemonic == "call":
            return True
    return False


def accessed(operands: Sequence[Operand], address: int) -> Operand | None:
    """The operand that covers a faulting address: the processor reports the first byte it could not have."""
    return next((item for item in operands if (address - item.address) & _MASK < (item.size or _MOST_STATE)), None)
