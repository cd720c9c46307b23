"""Parsers of foreign bytes and text."""

from __future__ import annotations

import io
from collections.abc import Sequence

from tests.fuzz.targets.base import Raw
from tests.fuzz.targets.cores import seeds
from tests.fuzz.targets.whole import tell
from tests.unit.makecore import good
from triage import redact
from triage.corefile import elf, notes
from triage.corefile.sources import apport, streams
from triage.corefile.sources.unpack import Bounds, write_sparse
from triage.errors import InputError, UsageError
from triage.gdb import mi
from triage.klog import is_log, read_log, records
from triage.klog.records import PREFIX
from triage.klog.resolve import Files
from triage.model import Outcome
from triage.query import parse_query
from triage.text import clean


class NotesTarget(Raw):
    """Notes of a core, without a core round them."""

    name = "notes"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [b"".join(core.notes) for core in seeds()]

    def take(self, data: bytes) -> str:
        """See Raw."""
        for align in (4, 8):
            for machine in ("x86_64", "aarch64", None):
                found = notes.decode(elf.read_notes(data, align), machine)
        elf.build_id(data)
        return "read" if found.threads else "empty"


class MiTarget(Raw):
    """GDB's records."""

    name = "mi"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [
            b'^done,threads=[{id="1",frame={level="0",args=[]}},{id="2"}]',
            b'12^error,msg="No symbol \\"x\\" in \\\\ [current {context"',
            b'~"TRIAGE-ANSWER {\\"threads\\": [{\\"depth\\": 1}]}\\n"',
            b'*stopped,reason="signal-received",frame={addr="0x0",func="main",args=[{name="a",value="\\033[2J"}]}',
            b'=thread-group-added,id="i1"',
            b'^done,a=[b="1",c={d=[],e="\\346\\227\\245"}]',
            b"(gdb) ",
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        import warnings

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pygdbmi's own, about odd characters
                return mi.parse(data.decode("utf-8", "replace").replace("\n", " ")).type
        except mi.BrokenRecord:
            return "refused"


class ApportTarget(Raw):
    """Reports of apport, and the stream in them."""

    name = "apport"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        import base64
        import gzip

        packed = gzip.compress(good().build())
        lines = b"\n".join(b" " + base64.b64encode(packed[at : at + 300]) for at in range(0, len(packed), 300))
        return [
            b"ProblemType: Crash\nDate: Mon Mar  2 10:00:00 2026\nExecutablePath: /usr/bin/php8.2\n"
            b"ProcCmdline: php -d x=1 /srv/a.php\nProcStatus:\n Name: php\n Pid:\t17\n Uid:\t33\t33\n"
            b"CoreDump: base64\n" + lines + b"\nSignal: 11\n"
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        target = self.folder / "apport.core"
        try:
            origin, kind, stream = apport.read_report(io.BytesIO(data))
            assert origin.kind == "apport"
            target.write_bytes(b"")
            amiss = write_sparse(streams.unpacked(stream, kind), target, Bounds(largest=64 << 20, reserve=0))
            return "cut" if amiss else "whole"
        except InputError as error:
            return error.code


class QueryTarget(Raw):
    """The filter language."""

    name = "query"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [
            b'state:new,known signal:SIGSEGV !script:"/srv/a b.php" last:24h sort:count Cart',
            b"count:>10 first:2026-01-01..2026-02-01 version:8.2",
            b'"two words" !x:y,"z" since:7d',
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        try:
            parse_query(data.decode("utf-8", "replace"))
            return "query"
        except UsageError:
            return "refused"


class TextTarget(Raw):
    """What makes foreign text harmless: cleaning, and hiding secrets."""

    name, share = "text", 2

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        return [
            b"mysql://user:p@ss@host/db?token=abc&x=1 --password=hunter2 Authorization: Bearer aaaaaaaaaaaaaaaaaaa1",
            b"/shop/cart?session_id=1#x \x1b[31m\xe2\x80\xae\x9b0m " * 20,
            b"a-1" * 3000,
            b"://" * 3000 + b"@",
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        text = data.decode("utf-8", "surrogateescape")
        assert clean(text).isprintable()
        assert len(clean(text, limit=50)) <= 50
        redact.text(text)
        redact.uri(text)
        redact.setting("x", text)
        redact.command_line(["php", *text.split(" ")])
        return "text"


class KernelTarget(Raw):
    """Logs of the kernel and of php-fpm, from the file to the crash records."""

    name = "kernel"

    def begin(self) -> Sequence[bytes]:
        """See Raw."""
        self._files = Files()
        return [
            b"Nov 24 10:00:00 web kernel: [ 1.5] php[42]: segfault at 8 ip 000055d0aa01a1c2 sp 00007ffc00000010 "
            b"error 4 in php8.2[3a1c2,55d0aa000000+29d000] likely on CPU 1 (core 1, socket 0)\n"
            b"Nov 24 10:00:00 web kernel: [ 1.5] Code: 48 8b 47 08 <48> 8b 00 c3 0f 1f\n",
            b"2026-11-24T10:00:00+00:00 web kernel: traps: php[43] general protection fault ip:7f0000000010 "
            b"sp:7ffc00000010 error:0 in libc.so.6[7f0000000000+155000]\n",
            b"<6>[12345.678901] traps: a b[7] trap invalid opcode ip:401000 sp:7ffc00000010 error:0\n",
            b"[24-Nov-2026 10:00:01] NOTICE: fpm is running, pid 1\n"
            b"[24-Nov-2026 10:00:01] WARNING: [pool www] child 42 exited on signal 11 (SIGSEGV - core dumped) "
            b"after 3.25 seconds from start\n",
            b"[Tue Nov 24 10:00:00 2026] php[44]: segfault at ffffffffffffffff ip 0 sp 0 error 14\n",
        ]

    def take(self, data: bytes) -> str:
        """See Raw."""
        path = self.folder / "kern.log"
        path.write_bytes(data)
        if not is_log(path):
            return "refused"
        made = list(records([read_log(path)], self._files))
        for crash in made:
            tell(Outcome(core=f"{PREFIX}1", status=crash.status, crash=crash))
        return "crashes" if made else "nothing"
