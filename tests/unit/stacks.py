"""Stacks written by hand, for tests of what is made of them."""

from __future__ import annotations

from triage.model import Frame, Signal, Thread

PHP, LIBC, EXT = "/usr/bin/php8.2", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/php/20220829/redis.so"
BUILDS: dict[str, str | None] = {PHP: "aa" * 20, LIBC: "bb" * 20, EXT: "cc" * 20}
OTHERS: dict[str, str | None] = {PHP: "dd" * 20, LIBC: "bb" * 20, EXT: "ee" * 20}
SEGV = Signal(number=11, name="SIGSEGV", code=1, code_name="SEGV_MAPERR", address=0x10)


def native(function: str | None, module: str | None = PHP, *, at: int = 0x55D0_0000_1000) -> Frame:
    """A native frame."""
    return Frame(kind="native", function=function, module=module, offset=at & 0xFFFFF, address=at)


def php(
    function: str | None,
    class_name: str | None = None,
    file: str | None = "/srv/www/x.php",
    opcode: str | None = None,
) -> Frame:
    """A frame of PHP code."""
    return Frame(kind="php", function=function, class_name=class_name, file=file, line=3, opcode=opcode)


def builtin(function: str, class_name: str | None = None) -> Frame:
    """A frame of one of PHP's own functions."""
    return Frame(kind="php", function=function, class_name=class_name, note="internal")


def thread(*frames: Frame) -> Thread:
    """The thread that crashed."""
    return Thread(id=1, name="php", crashed=True, depth=len(frames), truncated=False, frames=frames)


ENTRY = (native("execute_ex"), native("php_execute_script"), native("main"), native("_start"))
