"""Runs inside an interactive GDB, in GDB's own Python: commands that are answered by triage itself.

Each command sends one line of JSON through an inherited socket and prints the lines that come back.
Kept to plain Python 3.6, like inside.py, which is loaded before it into the same namespace.
"""

import json
import os
import socket

import gdb

_MASK = 0xFFFFFFFFFFFFFFFF


class Bridge:
    """The line to triage."""

    def __init__(self, number):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=number)
        self.file = self.socket.makefile("rwb")

    def ask(self, request):
        self.file.write(json.dumps(request).encode("ascii") + b"\n")
        self.file.flush()
        line = self.file.readline()
        if not line:
            raise gdb.GdbError("triage has gone; these commands need it")
        return json.loads(line.decode("ascii"))


def plain(word):
    """A register or expression as a number; anything else as it stands."""
    try:
        return hex(int(gdb.parse_and_eval(word)) & _MASK)
    except (gdb.error, ValueError, OverflowError, TypeError):
        return word


def shown(text):
    """Text of GDB's with control characters made visible: it prints a process's own words as they are."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


class OpenCore(gdb.Command):
    """triage-core PATH
    Open a core, like core-file; the command line it tells cannot reprogram the terminal."""

    def __init__(self):
        super().__init__("triage-core", gdb.COMMAND_FILES)

    def invoke(self, argument, from_tty):
        gdb.write(shown(gdb.execute("core-file " + argument, to_string=True)))


class Forwarded(gdb.Command):
    """One command, answered elsewhere."""

    def __init__(self, name, usage, summary, values):
        self.__doc__ = f"{name} {usage}\n{summary[0].upper()}{summary[1:]}."
        super().__init__(name, gdb.COMMAND_DATA)
        self.name = name
        self.values = values

    def invoke(self, argument, from_tty):
        # An address may be any expression of GDB's, with spaces.
        words = [plain(argument)] if self.values and argument.strip() else gdb.string_to_argv(argument)
        answer = BRIDGE.ask({"command": self.name, "words": words})
        gdb.write("".join(line + "\n" for line in answer["lines"]))


OpenCore()
BRIDGE = Bridge(int(os.environ["TRIAGE_BRIDGE"]))
HELLO = BRIDGE.ask({"hello": True})
UNWINDER.use(HELLO["unwinding"])  # noqa: F821 — defined by inside.py
for entry in HELLO["commands"]:
    Forwarded(entry["name"], entry["usage"], entry["summary"], "ADDRESS" in entry["usage"])
