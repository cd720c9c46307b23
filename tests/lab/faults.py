"""Crashes made on purpose, each with the class it must be given: what the diagnosis is measured by.

C and C++ programs are made with symbols and stripped; PHP is the stripped one of this machine, its
faulty extension of ours with and without symbols.

    python -m tests.lab.faults          make them all, diagnose them, print the table
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.lab import extension
from tests.lab.native import SOURCES
from tests.lab.suites import CannotMake
from triage.cli.main import triage
from triage.demo.crashes import find_php
from triage.demo.lab import NoCrash, Process, crash

_FLAGS = ("-O1", "-fno-inline", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-w", "-Wl,--build-id")
_CACHE = ("opcache.enable_cli=1", "opcache.memory_consumption=16", "opcache.file_update_protection=0")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A crash and its class. `also` must be found as well; `may` are further findings that are true of it."""

    name: str
    rule: str
    also: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    code: str | None = None
    options: tuple[str, ...] = ()
    stack: int | None = None


def _c(rule: str, *names: str, also: tuple[str, ...] = (), may: tuple[str, ...] = ()) -> Iterator[Wanted]:
    return (Wanted(name, rule, also, may) for name in names)


C = (
    *_c("null-pointer", "null_read", "null_write", "null_field", "null_below", "null_strlen", "null_memcpy"),
    *_c("small-integer", "small_integer"),
    *_c("wild-read", "wild_read", "in_handler"),
    *_c("wild-write", "wild_write", "wild_copy", "off_the_end"),
    *_c("non-canonical", "non_canonical_read", "non_canonical_write"),
    *_c("kernel-address", "kernel_address"),
    *_c("write-to-read-only", "write_constant", "write_code"),
    *_c("guard-page", "guard_page"),
    *_c("bad-jump", "call_null", "call_wild", "call_data", "call_table", "return_wild"),
    *_c("bad-jump", "call_garbage", also=("poison",)),
    *_c("bad-jump", "return_text", also=("text-as-pointer",)),
    *_c("stack-overflow", "recursion", "recursion_mutual", "recursion_thread"),
    *_c("large-stack-frame", "large_frame"),
    *_c("stack-smashing", "smashing"),
    *_c("fortify", "fortify"),
    *_c("glibc-double-free", "tcache_free"),
    *_c("glibc-double-free", "double_free"),
    *_c("glibc-invalid-free", "invalid_free", "corrupt_mapped"),
    *_c("glibc-heap-corrupt", "corrupt_top", "corrupt_next"),
    *_c("assertion", "assertion"),
    *_c("abort", "plain_abort"),
    *_c("compiler-trap", "trap"),
    *_c("illegal-instruction", "privileged"),
    *_c("trap", "breakpoint"),
    *_c("arithmetic", "divide"),
    *_c("mapped-file-gone", "bus"),
    *_c("misaligned", "misaligned"),
    *_c("limit-reached", "forbidden_call", "cpu_limit"),
    *_c("limit-reached", "file_limit", may=("truncated-core",)),  # the limit cuts the core as well
    *_c("signal-sent", "kill_self", "queue_self", "killed_by_child"),
    *_c("non-canonical", "text_pointer", "secret_pointer", also=("text-as-pointer",)),
    *_c("non-canonical", "poison_pointer", also=("poison",)),
    *_c("non-canonical", "float_pointer", also=("float-as-pointer",)),
    *_c("wild-read", "half_pointer", also=("truncated-pointer",)),
    *_c("null-pointer", "bit_flip", also=("bit-flip",)),
    *_c("null-pointer", "patched", also=("changed-code",)),
    *_c("null-pointer", "replaced", also=("replaced-files",)),
    *_c("null-pointer", "twins", also=("two-versions",)),
)

CXX = (*_c("cxx-terminate", "uncaught", "pure", "in_noexcept", "bounds"),)

_END = ("at-request-end", "in-destructor", "in-garbage-collection")
_DEEP = "function deep($n) { return $n ? [deep($n - 1)] : null; }"

PHP = (
    Wanted("ext-null", "null-pointer", code="function page() { return faulty_null(); } page();"),
    Wanted("ext-smash", "stack-smashing", code="faulty_smash(str_repeat('a', 300));"),
    Wanted("ext-use-freed", "wild-read", ("freed-block",), code="faulty_use_freed();"),
    Wanted("ext-type", "wild-write", ("impossible-value",), code="function show($x) { faulty_type($x); } show(1);"),
    Wanted("ext-confusion", "wild-read", code="faulty_confusion(0x7e0000001000);"),
    Wanted("ext-confusion-small", "small-integer", code="faulty_confusion(4000);"),
    Wanted("ext-handlers", "bad-jump", code="$o = new stdClass; faulty_handlers($o); echo $o->name;"),
    Wanted("ext-text", "non-canonical", ("text-as-pointer", "victim"), code="$o = new stdClass; faulty_text($o);"),
    Wanted("ext-api", "wild-write", ("mismatched-extension",), code="faulty_api();"),
    Wanted("ext-foreign-free", "zend-mm-corrupted", ("victim",), code="faulty_foreign_free();"),
    Wanted("ext-in-gc", "wild-read", ("in-garbage-collection",), _END,
           code="$a = []; $a[] = &$a; faulty_in_array($a); unset($a); gc_collect_cycles();"),
    Wanted("ext-request-end", "wild-write", ("at-request-end",), _END, code="faulty_at_request_end();"),
    Wanted("ext-process-end", "wild-write", ("at-process-end",), _END, code="faulty_at_shutdown();"),
    Wanted("ext-destructor", "null-pointer", ("in-destructor",), _END,
           code="class Lock { function __destruct() { faulty_null(); } } $l = new Lock; unset($l);"),
    Wanted("ext-destructor-late", "null-pointer", ("in-destructor", "at-request-end"), _END,
           code="class Lock { function __destruct() { faulty_null(); } } $l = new Lock;"),
    Wanted("ext-output", "null-pointer",
           code="ob_start(function ($x) { faulty_null(); return $x; }); echo 1; ob_end_flush();"),
    Wanted("heap-overflow", "signal-sent", ("heap-damaged", "heap-overflow"),
           code="faulty_overflow(); posix_kill(posix_getpid(), 11);"),
    Wanted("heap-stale", "signal-sent", ("heap-damaged", "heap-stale-write"),
           code="faulty_stale(); posix_kill(posix_getpid(), 11);"),
    Wanted("heap-double", "signal-sent", ("heap-damaged", "heap-double-free"),
           code="faulty_double(); posix_kill(posix_getpid(), 11);"),
    Wanted("heap-then-crash", "non-canonical", ("heap-damaged", "victim"), _END, code="faulty_stale(); $x = []; "
           "for ($i = 0; $i < 200; $i++) { $x[] = str_repeat('b', 80 + $i % 4); }"),
    Wanted("shared", "write-to-code-cache", code="function page() { faulty_shared(); } page();",
           options=(*_CACHE, "opcache.protect_memory=1", "opcache.jit=disable")),
    Wanted("ffi-null", "null-pointer",
           code="$f = FFI::cdef('char *strcpy(char *, char *);'); $f->strcpy(FFI::cast('char *', 0), 'x');"),
    Wanted("ffi-write", "wild-write", code="$f = FFI::cdef('void *memset(void *, int, size_t);'); "
           "$f->memset(FFI::cast('char *', 0x7e0000001000), 1, 100);"),
    Wanted("ffi-abort", "abort", code="FFI::cdef('void abort();')->abort();"),
    Wanted("ffi-double", "glibc-double-free", ("victim",),
           code="$f = FFI::cdef('void *malloc(size_t); void free(void *);'); "
           "$p = $f->malloc(24); $f->free($p); $f->free($p);"),
    Wanted("kill", "signal-sent", code="posix_kill(posix_getpid(), SIGSEGV);"),
    Wanted("php-recursion", "stack-overflow", ("cause",), stack=1 << 20,
           code="class Tree { function walk($n) { return array_map(fn($x) => $this->walk($x), [$n]); } } "
           "(new Tree)->walk(1);"),
    Wanted("recursion-string", "stack-overflow", ("cause",), stack=1 << 20,
           code="class Node { function __toString() { return implode(',', [$this]); } } echo new Node;"),
    Wanted("deep-list", "stack-overflow", may=_END, stack=1 << 20,
           code="class L { public $next; } $h = null; for ($i = 0; $i < 200000; $i++) { $n = new L; $n->next = $h; "
           "$h = $n; } $h = null;"),
    Wanted("deep-serialize", "stack-overflow", stack=1 << 20,
           code="$a = []; for ($i = 0; $i < 100000; $i++) { $a = [$a]; } serialize($a);"),
    Wanted("after-timeout", "signal-sent", ("after-timeout",), _END, options=("max_execution_time=1",),
           code="register_shutdown_function(function () { posix_kill(posix_getpid(), 11); }); while (true);"),
    Wanted("after-memory-limit", "signal-sent", ("after-memory-limit",), _END, options=("memory_limit=8M",),
           code="register_shutdown_function(function () { posix_kill(posix_getpid(), 11); }); "
           "$x = []; while (true) { $x[] = str_repeat('a', 100000); }"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """A crash, how it was made, and what the diagnosis said of it."""

    wanted: Wanted
    build: str
    rule: str | None
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    title: str = ""

    @property
    def right(self) -> bool:
        return self.rule == self.wanted.rule and not self.missing


def judge(wanted: Wanted, build: str, crash_json: dict[str, Any]) -> Judged:
    """Hold the findings against what is known of the crash."""
    findings = crash_json["findings"]
    rules = [finding["rule"] for finding in findings]
    first = next((f for f in findings if f["topic"] == "fault"), None)
    true = {wanted.rule, *wanted.also, *wanted.may}
    wrong = tuple(f["rule"] for f in findings if f["confidence"] == "proved" and f["rule"] not in true)
    return Judged(
        wanted,
        build,
        first["rule"] if first else None,
        tuple(rule for rule in wanted.also if rule not in rules),
        wrong,
        first["title"] if first else "",
    )


BUILDS = {"symbols": ("-g",), "stripped": ("-s",)}
# One of each family, for every run of the tests.
QUICK = frozenset(
    "null_below small_integer wild_copy non_canonical_read write_constant call_wild return_text recursion smashing "
    "fortify corrupt_next assertion bus killed_by_child bit_flip replaced pure ext-use-freed ext-text "
    "ext-foreign-free heap-overflow ext-in-gc ext-api shared php-recursion after-memory-limit".split()
)


def all_cases(
    folder: Path, builds: Sequence[str] = tuple(BUILDS), names: Collection[str] | None = None
) -> Iterator[tuple[Wanted, str, Process]]:
    """Every crash, or those with these names, with the way it is built."""

    def chosen(cases: Iterable[Wanted]) -> list[Wanted]:
        return [wanted for wanted in cases if names is None or wanted.name in names]

    for build in builds:
        flags = BUILDS[build]
        yield from _native(folder, build, chosen(C), "faults.c", "gcc", flags)
        yield from _native(folder, build, chosen(CXX), "faults.cpp", "g++", flags)
        yield from _php(folder, build, chosen(PHP), flags)


def _native(
    folder: Path, build: str, cases: Sequence[Wanted], source: str, compiler: str, flags: tuple[str, ...]
) -> Iterator[tuple[Wanted, str, Process]]:
    program = folder / f"{source}-{build}"
    argv = [compiler, *_FLAGS, *flags, "-o", str(program), str(SOURCES / source), "-ldl", "-pthread"]
    if shutil.which(compiler) is None:
        raise CannotMake(f"{compiler} is not installed")
    subprocess.run(argv, check=True)
    for number, name in ((1, "one"), (2, "two")):
        place = folder / name
        place.mkdir(exist_ok=True)
        library = ["gcc", "-shared", "-fPIC", f"-DVERSION={number}", "-o", str(place / f"libtwin.so.{number}")]
        subprocess.run([*library, str(SOURCES / "twin.c")], check=True)
    for wanted in cases:
        run = folder / f"run-{build}-{wanted.name}"
        run.mkdir()
        own = run / "faults"
        shutil.copy(program, own)  # one of the cases removes its own program
        for name in ("one", "two"):
            (run / name).symlink_to(folder / name)
        yield wanted, build, Process(argv=(str(own), wanted.name), folder=run, env={}, stack=wanted.stack)


def _php(
    folder: Path, build: str, cases: Sequence[Wanted], flags: tuple[str, ...]
) -> Iterator[tuple[Wanted, str, Process]]:
    php = find_php()
    if php is None:
        return
    library = extension.build(folder / f"faulty-{build}.so", php.version, *flags)
    for wanted in cases:
        run = folder / f"run-{build}-{wanted.name}"
        run.mkdir()
        script = run / "page.php"
        script.write_text(f"<?php\n{wanted.code}\n")
        options = [part for option in ("ffi.enable=1", *wanted.options) for part in ("-d", option)]
        argv = (php.path, "-d", f"extension={library}", *options, str(script))
        yield wanted, build, Process(argv=argv, folder=run, env={}, stack=wanted.stack)


def run(
    folder: Path, builds: Sequence[str] = tuple(BUILDS), names: Collection[str] | None = None
) -> Iterator[Judged | str]:
    """Make and judge every crash, or those with these names; a sentence for one that did not crash."""
    for wanted, build, process in all_cases(folder, builds, names):
        try:
            core = crash(process, folder / f"{build}-{wanted.name}.core")
        except NoCrash as reason:
            yield f"{wanted.name} ({build}): {reason.message}"
            continue
        done = CliRunner().invoke(triage, ["show", str(core), "--json"], catch_exceptions=False)
        if done.exit_code:
            yield f"{wanted.name} ({build}): {done.stderr}"
            continue
        yield judge(wanted, build, json.loads(done.stdout))
        core.unlink()


def table(judged: Sequence[Judged | str]) -> Iterator[str]:
    """The table and its sum, as lines."""
    rows = [item for item in judged if isinstance(item, Judged)]
    for item in judged:
        if isinstance(item, str):
            yield f"NO CRASH  {item}"
            continue
        mark = "ok " if item.right and not item.wrong else "BAD"
        notes = [f"missing {', '.join(item.missing)}"] if item.missing else []
        notes += [f"wrongly proved {', '.join(item.wrong)}"] if item.wrong else []
        yield f"{mark} {item.wanted.name:<22} {item.build:<9} {item.wanted.rule:<20} {item.rule or '-':<20} " + (
            "; ".join(notes) or ", ".join(item.wanted.also)
        )
    right = sum(item.right for item in rows)
    wrong = sum(bool(item.wrong) for item in rows)
    kinds = len({item.wanted.name for item in rows})
    yield (
        f"{len(rows)} crashes of {kinds} kinds: {right} right ({100 * right / max(1, len(rows)):.1f} %), "
        f"{wrong} with a wrong finding marked proved"
    )


def main() -> int:
    """Print the table; 0 when it meets its mark."""
    with tempfile.TemporaryDirectory() as place:
        judged = []
        for item in run(Path(place)):
            judged.append(item)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for line in table(judged):
        print(line)
    rows = [item for item in judged if isinstance(item, Judged)]
    good = sum(item.right for item in rows) >= 0.97 * len(judged)
    return 0 if good and len(rows) >= 60 and not any(item.wrong for item in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
