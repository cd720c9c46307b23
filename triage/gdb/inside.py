"""Runs inside GDB, in GDB's own Python, which may be older than ours: plain 3.6, no imports of ours.

Defines three commands. Each takes one argument, a JSON object with what is new since it was given last, deflated and
in base64 (see packed.py), and answers with one line: the marker, a space, and such an object. One round trip a core.

    triage-load {"executable": PATH | null, "core": PATH, "sysroot": PATH, "debug": "DIR:DIR",
                 "held": PATH | null, "needed": [NAME] | null, "plain_threads": true}
    triage-name {"stacks": [[PC, …], …], "at": PC, "held": PATH}
    triage-dump {"inner": N, "outer": N, "walk": N, "others": N, "threads": N, "loop_register": NAME,
                 "unwinding": {"code": […], "rules": […], …} | null,
                 "resume": {"level": N, "registers": {NAME: VALUE}} | null}
"""

import base64
import json
import re
import zlib

import gdb
import gdb.unwinder

MARKER = "TRIAGE-ANSWER"
MOST_FIBERS = 200
REGISTERS = {
    "i386:x86-64": (
        "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs fs_base gs_base"
    ).split(),
    "aarch64": [f"x{n}" for n in range(31)] + ["sp", "pc", "cpsr"],
}


def unpack(text):
    return json.loads(zlib.decompress(base64.b64decode(text)).decode("utf-8"))


def answer(value):
    packed = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)
    gdb.write(f"{MARKER} {base64.b64encode(packed).decode()}\n")


def register(frame, name):
    """A register of a frame as an unsigned integer, None when GDB does not know it."""
    try:
        return int(frame.read_register(name)) & 0xFFFFFFFFFFFFFFFF
    except (gdb.error, ValueError, OverflowError):
        return None


def describe(frame, loop_register):
    """One frame; `stop` only on the outermost one."""
    kind = frame.type()
    sal = frame.find_sal()
    return {
        "level": frame.level() if hasattr(frame, "level") else None,
        "pc": frame.pc(),
        "sp": register(frame, "sp") if kind != gdb.INLINE_FRAME else None,
        "name": frame.name(),
        "file": sal.symtab.filename if sal.symtab is not None else None,
        "line": sal.line if sal.symtab is not None else None,
        "inline": kind == gdb.INLINE_FRAME,
        "handler": kind == gdb.SIGTRAMP_FRAME,
        "tail": kind == gdb.TAILCALL_FRAME,
        "vouched": kind == gdb.NORMAL_FRAME and register(frame, "sp") in UNWINDER.vouched,
        "loop": register(frame, loop_register) if loop_register else None,
    }


class FrameId:
    """What GDB asks of a frame's identity; its own class for this is newer than the oldest GDB we meet."""

    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class Unwinder(gdb.unwinder.Unwinder):
    """Unwinds frames that have no tables, by the rules given for this core. Silent without rules."""

    def __init__(self):
        super().__init__("triage")
        self.rules = None
        self.vouched = set()
        self.start = None  # (pc, sp) of the innermost frame, while a walk goes on beyond a fiber
        self.caller = None  # the registers that frame is given as its caller's
        self.made_up = {}  # (pc, sp) of a frame → its caller's registers, while frames are named by their addresses
        self.types = {}  # of registers; one GDB has cores of one machine only

    def use(self, rules):
        self.rules = rules
        self.vouched = set()
        self.forget()

    def forget(self):
        """End a walk beyond a fiber: the innermost frame has its own caller again."""
        self.start = self.caller = None
        self.made_up = {}
        gdb.invalidate_cached_frames()

    def crossing(self, frame):
        """The registers of the stack from which a fiber was resumed, when its own stack ends at this frame."""
        entry = self.rules["fiber_entry"] if self.rules is not None else None
        if entry is None or not entry[0] <= frame.pc() < entry[1]:
            return None
        sp = register(frame, "sp")
        found = self.across(sp) if sp is not None else None
        if found is not None:
            self.vouched.add(sp)
        return found

    def beyond(self, registers):
        """The frame with these registers; frames held so far are not valid any more.

        A fiber's stack may lie above or below its caller's, and GDB believes no caller that lies
        lower. So the walk begins anew, with that caller as the innermost frame's own.
        """
        newest = gdb.newest_frame()
        self.start = (newest.pc(), register(newest, "sp"))
        self.caller = registers
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        for _ in range(20):  # over what is inlined into the innermost frame
            if frame is None or frame.pc() == registers["rip"]:
                break
            frame = frame.older()
        return frame

    def generated(self, pc):
        """Whether generated code is at pc."""
        return self.rules is not None and any(low <= pc < high for low, high in self.rules["code"])

    def __call__(self, pending):
        if self.rules is None and self.start is None and not self.made_up:
            return None
        try:
            pc = int(pending.read_register("pc")) & 0xFFFFFFFFFFFFFFFF
            sp = int(pending.read_register("sp")) & 0xFFFFFFFFFFFFFFFF
            if self.made_up:
                found = self.made_up.get((pc, sp))
                end = found["rsp"] if found is not None else None
            elif self.start == (pc, sp):
                found, end = self.caller, self.caller["rsp"] - 8
            elif self.generated(pc):
                found = self.through(pending)
                end = found["rsp"] if found is not None else None
            else:
                return None
        except (gdb.error, ValueError, OverflowError):
            return None
        if found is None:
            return None
        if self.start != (pc, sp) and not self.made_up:
            self.vouched.add(sp)
        info = pending.create_unwind_info(FrameId(gdb.Value(end), gdb.Value(pc)))
        for name, value in found.items():
            if name not in self.types:
                self.types[name] = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(self.types[name]))
        return info

    def across(self, sp):
        """The registers of the stack from which the fiber on this stack was resumed."""
        for switch in self.rules["switches"]:
            if switch["low"] <= sp <= switch["high"]:
                return switch["registers"]
        return None

    def through(self, pending):
        """The caller of the interpreter's loop, on whose frame generated code runs."""
        memory = gdb.selected_inferior()
        for register, distance in self.rules["rules"]:
            base = int(pending.read_register(register)) & 0xFFFFFFFFFFFFFFFF
            for more in (0, 16) if register == "rsp" else (0,):
                cfa = base + distance + more
                pc = self.word(memory, cfa - 8)
                if any(low < pc <= high for low, high in self.rules["callers"]):
                    found = {name: self.word(memory, cfa + at) for name, at in self.rules["saved"].items()}
                    found.update({"rip": pc, "rsp": cfa})
                    return found
        return None

    def word(self, memory, address):
        return int.from_bytes(bytes(memory.read_memory(address, 8)), "little")


def walk(inner, outer, most, loop_register, resume=None):
    """Frames of the selected thread: `inner` innermost, `outer` outermost, and how many there are.

    Only the frames that are kept are described; those between are just stepped over. With `resume`
    they are not even that: the walk goes on with its registers, which are those of the frame at its
    level, inlined frames and tail calls not counted.
    """
    kept, ring, depth, stop = [], [], 0, None
    crossed = 0
    UNWINDER.forget()
    try:
        frame = gdb.newest_frame()
        while frame is not None and depth < most:
            registers = UNWINDER.crossing(frame) if crossed < MOST_FIBERS else None
            if len(kept) < inner:
                kept.append(describe(frame, loop_register))
            else:
                ring.append(frame)
                if len(ring) > outer:
                    ring.pop(0)
            depth += 1
            if resume is not None and len(kept) == inner:
                real = sum(not item["inline"] and not item["tail"] for item in kept)
                depth += resume["level"] - real
                frame, resume = UNWINDER.beyond(resume["registers"]), None
                continue
            if registers is not None:
                crossed += 1
                ring = [item if isinstance(item, dict) else describe(item, loop_register) for item in ring]
                frame = UNWINDER.beyond(registers)
                continue
            older = frame.older()
            if UNWINDER.generated(frame.pc()) and int(frame.read_register("sp")) not in UNWINDER.vouched:
                stop, frame = "generated code, whose caller could not be found", None
                break
            if older is None:
                stop = why_last(frame)
            frame = older
        if frame is not None:
            stop = f"more than {most} frames"
    except gdb.error as error:
        stop = str(error)
    tail = []
    for item in ring:
        try:
            tail.append(item if isinstance(item, dict) else describe(item, loop_register))
        except gdb.error as error:
            stop = str(error)
    for back, item in enumerate(reversed(tail)):
        item["level"] = depth - 1 - back
    for at, item in enumerate(kept):
        item["level"] = at
    UNWINDER.forget()
    return {"frames": kept, "outer": tail, "depth": depth, "stop": stop}


def why_last(frame):
    """Why a frame has no caller, None where that is as it should be."""
    reason = frame.unwind_stop_reason()
    regular = reason in (gdb.FRAME_UNWIND_NO_REASON, gdb.FRAME_UNWIND_OUTERMOST)
    return None if regular else gdb.frame_stop_reason_string(reason)


def registers(frame):
    names = REGISTERS.get(frame.architecture().name(), [])
    found = ((name, register(frame, name)) for name in names)
    return {name: value for name, value in found if value is not None}


def instruction(frame):
    """The instruction at the program counter, None when no code can be read there."""
    try:
        return frame.architecture().disassemble(frame.pc())[0]["asm"]
    except (gdb.error, RuntimeError, IndexError):
        return None


def threads():
    found = list(gdb.selected_inferior().threads())
    return sorted(found, key=lambda thread: thread.num)


def dump(options):
    UNWINDER.use(options.get("unwinding"))
    crashed = gdb.selected_thread()
    first = crashed.ptid[1] or crashed.ptid[0] if crashed is not None else None
    out = {"crashed": first, "threads": [], "registers": {}, "instruction": None, "count": 0}
    every = threads()
    out["count"] = len(every)
    chosen = [t for t in every if t.num == crashed.num] + [t for t in every if t.num != crashed.num]
    for thread in chosen[: options["threads"]]:
        thread.switch()
        own = thread.num == crashed.num
        inner = options["inner"] if own else options["others"]
        outer = options["outer"] if own else 4
        most = options["walk"] if own else inner + 1000
        entry = walk(inner, outer, most, options.get("loop_register"), options.get("resume") if own else None)
        entry["id"] = thread.ptid[1] or thread.ptid[0]
        entry["name"] = thread.name
        out["threads"].append(entry)
        if own:
            try:
                frame = gdb.newest_frame()
                out["registers"] = registers(frame)
                out["instruction"] = instruction(frame)
            except gdb.error as error:
                entry["stop"] = entry["stop"] or str(error)
    return out


def name(options):
    """Frames by their addresses in the core that is held open: what GDB shows of a frame hangs on nothing else.

    But for tail calls: no frame whose caller is made up has them. Of each stack the frames come innermost first;
    `at` is the place of the address in the list that a frame belongs to, `called` where the function begins that it
    called, if debug information might tell of tail calls. A frame is looked up one byte before its address, as
    callers are.
    """
    held = next(number for number, core in OPENED.items() if core == options["held"])
    gdb.execute(f"inferior {held}", to_string=True)
    UNWINDER.use(None)
    try:
        gdb.newest_frame().pc()
    except gdb.error:  # its file has been removed or cut off since
        return {"lost": True}
    try:
        code = bytes(gdb.selected_inferior().read_memory(options["at"], 16)).hex()
        text = gdb.newest_frame().architecture().disassemble(options["at"])[0]["asm"]
    except gdb.error:
        code = text = None
    stacks = [name_stack(stack) for stack in options["stacks"]]
    UNWINDER.forget()
    return {"stacks": stacks, "instruction": text, "code": code}


def name_stack(stack):
    UNWINDER.forget()
    newest = gdb.newest_frame()
    below = register(newest, "sp")
    chain, last = {}, (newest.pc(), below)
    for at, pc in enumerate(stack):
        chain[last] = {"rip": pc, "rsp": below + APART * (at + 1)}
        last = (pc, below + APART * (at + 1))
    UNWINDER.made_up = chain
    gdb.invalidate_cached_frames()
    rows, called, stop = [], None, None
    frame = gdb.newest_frame()
    while frame is not None and register(frame, "sp") == below:
        frame = frame.older()
    at = 0
    while frame is not None:
        sal = frame.find_sal()
        inline = frame.type() == gdb.INLINE_FRAME
        file = sal.symtab.filename if sal.symtab is not None else None
        rows.append(
            {
                "name": frame.name(),
                "file": file,
                "line": sal.line if sal.symtab is not None else None,
                "inline": inline,
                "at": at,
                "called": beginning(called) if called is not None and file is not None else None,
            }
        )
        if not inline:
            called = frame
            at += 1
            if at == len(stack):
                break
        older = frame.older()
        stop = why_last(frame) if older is None else None
        frame = older
    return {"frames": rows, "stop": stop}


def beginning(frame):
    """Where GDB takes a frame's function to begin: its symbol with debug information, or the nearest name."""
    function = frame.function()
    if function is not None:
        return int(function.value().address) & 0xFFFFFFFFFFFFFFFF
    at = frame.pc() - 1
    found = re.match(r".* \+ (\d+) in section ", gdb.execute(f"info symbol {at:#x}", to_string=True))
    return at - int(found[1]) if found else at


APART = 1024  # bytes between the made up frames' stack pointers


def load(options):
    """Open a core. The sysroot holds proven files only, so GDB never reads a file of another build.

    GDB keeps what it read of a file for as long as any of its inferiors uses the file. So two take
    turns: the one whose core is to be held, with all of its libraries, stays as it is, the other opens the next
    core, and of that only the libraries that are needed. All cores of one GDB are of one executable: with
    two, GDB 13 and 16 end with an internal error.
    """
    if not OPENED:
        if options.get("plain_threads"):
            # The core's own list of threads will do. The thread library is asked again whenever a core is opened,
            # of every inferior: it fails for good when the core another one holds open has been removed since.
            gdb.execute("set libthread-db-search-path /nonexistent", to_string=True)
        gdb.execute(f"set sysroot {options['sysroot']}", to_string=True)
        gdb.execute(f"set debug-file-directory {options['debug']}", to_string=True)
    OPENED[take_spare(options["executable"], options["held"])] = options["core"]
    needed = options["needed"]
    gdb.execute("set auto-solib-add " + ("on" if needed is None else "off"), to_string=True)
    gdb.execute(f"core-file {options['core']}", to_string=True)
    for name in needed or ():
        gdb.execute("sharedlibrary " + pattern(options["sysroot"] + name), to_string=True)
    return {"loaded": True}


def take_spare(executable, held):
    """The number of the inferior that may be used for the next core; it is the current one then."""
    if len(OPENED) == 2:
        spare = next(number for number, core in OPENED.items() if core != held)
        gdb.execute(f"inferior {spare}", to_string=True)
        return spare
    if OPENED:
        gdb.execute("add-inferior -no-connection", to_string=True)
        spare = max(inferior.num for inferior in gdb.inferiors())
        gdb.execute(f"inferior {spare}", to_string=True)
    else:
        spare = gdb.selected_inferior().num
    if executable is not None:
        gdb.execute(f"file {executable}", to_string=True)
    return spare


def pattern(name):
    """A basic regular expression for exactly this name."""
    return "^" + "".join("\\" + char if char in "\\.[*^$" else char for char in name) + "$"


OPENED = {}  # inferior number → the core it has open
UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


class Command(gdb.Command):
    def __init__(self, name, action):
        super().__init__(name, gdb.COMMAND_DATA)
        self.action = action
        self.told = {}

    def invoke(self, argument, from_tty):
        try:
            self.told.update(unpack(argument))
            answer(self.action(self.told))
        except (gdb.error, RuntimeError, ValueError, MemoryError, zlib.error) as error:
            answer({"error": str(error) or type(error).__name__})


Command("triage-load", load)
Command("triage-name", name)
Command("triage-dump", dump)
