"""The JSON of CONTRACT.md, name by name, and back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest

from triage.filing import filed
from triage.model import (
    AccessKind,
    Argument,
    Cluster,
    Confidence,
    Crash,
    CrashRow,
    Decision,
    Failure,
    Fault,
    Fiber,
    Finding,
    Flag,
    Frame,
    HeapCheck,
    HeapFault,
    Hook,
    LastError,
    Load,
    MemoryUse,
    Module,
    Opcache,
    Operand,
    Origin,
    Outcome,
    Request,
    Runtime,
    Signal,
    Signature,
    State,
    Status,
    Symbols,
    Thread,
    Topic,
    Worker,
)
from triage.wire import (
    cluster_to_json,
    crash_from_json,
    crash_row_to_json,
    crash_to_json,
    outcome_to_json,
)
from triage.wire_module import module_to_json, modules_text

TIME = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)

FULL = Crash(
    id="3f9a2b",
    core="/var/crash/core.1",
    status=Status.PARTIAL,
    time=TIME,
    host="web-1",
    pid=4242,
    executable="/usr/sbin/php-fpm8.2",
    build_id="c0ffee",
    arguments=("php-fpm: pool www", ""),
    signal=Signal(
        number=11, name="SIGSEGV", code=1, code_name="SEGV_MAPERR", address=0x10, sender=99, sender_user=33
    ),
    runtime=Runtime(
        name="php",
        version="8.2.7",
        sapi="fpm-fcgi",
        debug=False,
        zts=True,
        script="/srv/index.php",
        request=Request(method="GET", uri="/cart", variables={"_GET[id]": "string(2)"}),
        extensions=MappingProxyType({"apcu": "5.1.22", "local": None}),
        options={"memory_limit": "1G", "zend_extension": None},
        memory=MemoryUse(used=1, peak=2**40, limit=None),
        last_error=LastError(type="E_WARNING", message="Undefined variable", file="/srv/a.php", line=3),
        exception=LastError(type="TypeError", message=None, file=None, line=None),
        jit=True,
        fibers=(Fiber(id=4, status="suspended", depth=1, frames=(Frame(kind="php", function="rest"),)),),
        hooks=(Hook(name="zend_execute_ex", module="/x.so", extension="xdebug", function="xdebug_execute_ex"),),
        callbacks=("error handler: trace()",),
        opcache=Opcache(shared=1 << 27, dumped=True, scripts=7, hits=2**40, started=TIME, restart_pending=False),
        heap=HeapCheck(
            state="damaged",
            chunks=2,
            blocks=30,
            bytes=4096,
            faults=(
                HeapFault(
                    what="free-list",
                    verdict="overflow",
                    confidence=Confidence.LIKELY,
                    slot=0x7FFF_0000_1000,
                    bin=56,
                    evidence=("text in a link",),
                ),
            ),
        ),
        worker=Worker(pool="www", started=TIME, requests=3, stage="running"),
        environment={"LANG": "C", "KEY": "<8 characters>"},
        extension_files={"apcu": "/usr/lib/php/apcu.so"},
        mismatched={"local": "built for another PHP"},
        state={"GIL": "held by thread 4242"},
    ),
    threads=(
        Thread(
            id=4242,
            name="php-fpm",
            crashed=True,
            depth=4000,
            truncated=True,
            frames=(
                Frame(
                    kind="native",
                    function="zend_execute",
                    module="/usr/sbin/php-fpm8.2",
                    offset=0x2040,
                    file="zend_vm_execute.h",
                    line=55,
                    address=0xFFFF_FFFF_FF60_0000,
                    inlined=True,
                    note="jit",
                    trust="cfi",
                ),
                Frame(
                    kind="php",
                    function="total",
                    class_name="Shop\\Cart",
                    file="/srv/a.php",
                    line=3,
                    call="->",
                    opcode="ZEND_DO_FCALL",
                    arguments=(Argument(name="sum", type="int", value="3"),),
                ),
            ),
        ),
        Thread(id=4243, name=None, crashed=False, depth=0, truncated=False, frames=()),
    ),
    modules=(
        Module(
            path="/usr/sbin/php-fpm8.2",
            build_id="c0ffee",
            start=0x55B000,
            end=0x560000,
            symbols=Symbols.DYNAMIC,
            base=0x55A000,
            deleted=True,
        ),
        Module(path="[vdso]", build_id=None, start=0, end=0x1000, symbols=Symbols.NONE),
    ),
    findings=(
        Finding(
            rule="null-deref",
            title="null pointer read",
            confidence=Confidence.PROVED,
            evidence=("si_addr is 0x10", "rax is 0"),
            explanation="A field of a null pointer was read.",
            next_steps=("Look at Cart::total",),
            topic=Topic.CLUE,
        ),
    ),
    signature=Signature(
        key="v1:zend_execute",
        title="zend_execute ← Shop\\Cart::total",
        steps=("kept it",),
        aliases=("v1:at|1",),
        markers=("at-shutdown",),
    ),
    cluster="C-3f9a2b",
    registers={"rip": 0x55D040, "rax": 0, "rsp": 2**64 - 8},
    instruction="mov (%rax),%rdx",
    fault=Fault(
        kind=AccessKind.READ,
        address=0x10,
        operand=Operand(
            text="[rax + 0x10]",
            kind=AccessKind.READ,
            address=0x10,
            size=8,
            base="rax",
            base_value=0,
            displacement=16,
        ),
        load=Load(register="rax", address=0x7F00_0000_1000, text="mov rax, qword ptr [rbx]", at=0x55D030),
    ),
    origin=Origin(
        kind="systemd-coredump",
        compression="zstd",
        time=datetime(2026, 3, 1, 12, 30, 5, 250_000, tzinfo=UTC),
        time_from="attribute",
        host="web1",
        pid=4242,
        user=33,
        executable="/usr/sbin/php-fpm8.2",
        arguments=("php-fpm: pool www",),
        container="0123456789ab",
        unit="php8.2-fpm.service",
        package="php8.2-fpm 8.2.29",
        occurrences=3,
    ),
    gdb="GNU gdb 13.1",
    warnings=("no debug file",),
    isolation="bubblewrap+seccomp as nobody",
    timing={"read": 0.25, "gdb": 1.5},
)

FULL_JSON: dict[str, Any] = {
    "id": "3f9a2b",
    "core": "/var/crash/core.1",
    "status": "partial",
    "time": "2026-03-01T12:30:05Z",
    "host": "web-1",
    "pid": 4242,
    "executable": "/usr/sbin/php-fpm8.2",
    "build_id": "c0ffee",
    "arguments": ["php-fpm: pool www", ""],
    "signal": {
        "number": 11,
        "name": "SIGSEGV",
        "code": 1,
        "address": "0x10",
        "code_name": "SEGV_MAPERR",
        "sender": 99,
        "sender_user": 33,
    },
    "runtime": {
        "name": "php",
        "version": "8.2.7",
        "sapi": "fpm-fcgi",
        "debug": False,
        "zts": True,
        "script": "/srv/index.php",
        "request": {"method": "GET", "uri": "/cart", "variables": {"_GET[id]": "string(2)"}},
        "extensions": {"apcu": "5.1.22", "local": None},
        "options": {"memory_limit": "1G", "zend_extension": None},
        "memory": {"used": 1, "peak": 1099511627776, "limit": None},
        "last_error": {
            "type": "E_WARNING",
            "message": "Undefined variable",
            "file": "/srv/a.php",
            "line": 3,
        },
        "exception": {"type": "TypeError", "message": None, "file": None, "line": None},
        "jit": True,
        "fibers": [
            {
                "id": 4,
                "status": "suspended",
                "depth": 1,
                "frames": [
                    {
                        **{"kind": "php", "function": "rest"},
                        **dict.fromkeys(("class", "module", "offset", "file", "line", "address")),
                        **{
                            "inlined": False,
                            "note": None,
                            "call": None,
                            "opcode": None,
                            "arguments": [],
                            "trust": None,
                        },
                    }
                ],
            }
        ],
        "hooks": [
            {"name": "zend_execute_ex", "module": "/x.so", "extension": "xdebug", "function": "xdebug_execute_ex"}
        ],
        "callbacks": ["error handler: trace()"],
        "opcache": {
            **{"shared": 1 << 27, "dumped": True, "scripts": 7, "most_scripts": None, "hits": 2**40},
            **dict.fromkeys(("misses", "memory_restarts", "hash_restarts", "manual_restarts")),
            **{
                "restart_pending": False,
                "restart_in_progress": None,
                "started": "2026-03-01T12:30:05+00:00",
                "restarted": None,
            },
        },
        "heap": {
            "state": "damaged",
            "reason": None,
            "chunks": 2,
            "blocks": 30,
            "bytes": 4096,
            "faults": [
                {
                    "what": "free-list",
                    "verdict": "overflow",
                    "confidence": "likely",
                    "slot": "0x7fff00001000",
                    "bin": 56,
                    "evidence": ["text in a link"],
                }
            ],
        },
        "worker": {
            **{"pool": "www", "started": "2026-03-01T12:30:05+00:00", "requests": 3, "stage": "running"},
            "request_started": None,
        },
        "environment": {"LANG": "C", "KEY": "<8 characters>"},
        "extension_files": {"apcu": "/usr/lib/php/apcu.so"},
        "mismatched": {"local": "built for another PHP"},
        "state": {"GIL": "held by thread 4242"},
    },
    "threads": [
        {
            "id": 4242,
            "name": "php-fpm",
            "crashed": True,
            "depth": 4000,
            "truncated": True,
            "frames": [
                {
                    "kind": "native",
                    "function": "zend_execute",
                    "class": None,
                    "module": "/usr/sbin/php-fpm8.2",
                    "offset": "0x2040",
                    "file": "zend_vm_execute.h",
                    "line": 55,
                    "address": "0xffffffffff600000",
                    "inlined": True,
                    "note": "jit",
                    "call": None,
                    "opcode": None,
                    "arguments": [],
                    "trust": "cfi",
                },
                {
                    "kind": "php",
                    "function": "total",
                    "class": "Shop\\Cart",
                    "module": None,
                    "offset": None,
                    "file": "/srv/a.php",
                    "line": 3,
                    "address": None,
                    "inlined": False,
                    "note": None,
                    "call": "->",
                    "opcode": "ZEND_DO_FCALL",
                    "arguments": [{"name": "sum", "type": "int", "value": "3"}],
                    "trust": None,
                },
            ],
        },
        {"id": 4243, "name": None, "crashed": False, "depth": 0, "truncated": False, "frames": []},
    ],
    "modules": [
        {
            "path": "/usr/sbin/php-fpm8.2",
            "build_id": "c0ffee",
            "start": "0x55b000",
            "end": "0x560000",
            "symbols": "dynamic",
            "base": "0x55a000",
            "deleted": True,
        },
        {
            "path": "[vdso]",
            "build_id": None,
            "start": "0x0",
            "end": "0x1000",
            "symbols": "none",
            "base": "0x0",
            "deleted": False,
        },
    ],
    "findings": [
        {
            "rule": "null-deref",
            "title": "null pointer read",
            "confidence": "proved",
            "evidence": ["si_addr is 0x10", "rax is 0"],
            "explanation": "A field of a null pointer was read.",
            "next_steps": ["Look at Cart::total"],
            "topic": "clue",
        }
    ],
    "signature": "v1:zend_execute",
    "signature_title": "zend_execute ← Shop\\Cart::total",
    "signature_steps": ["kept it"],
    "signature_aliases": ["v1:at|1"],
    "markers": ["at-shutdown"],
    "cluster": "C-3f9a2b",
    "registers": {"rip": "0x55d040", "rax": "0x0", "rsp": "0xfffffffffffffff8"},
    "instruction": "mov (%rax),%rdx",
    "fault": {
        "kind": "read",
        "address": "0x10",
        "operand": {
            "text": "[rax + 0x10]",
            "kind": "read",
            "address": "0x10",
            "size": 8,
            "base": "rax",
            "base_value": "0x0",
            "displacement": 16,
            "aligned": False,
        },
        "load": {
            "register": "rax",
            "address": "0x7f0000001000",
            "text": "mov rax, qword ptr [rbx]",
            "at": "0x55d030",
        },
        "misaligned": False,
        "arrival": None,
    },
    "origin": {
        "kind": "systemd-coredump",
        "compression": "zstd",
        "time": "2026-03-01T12:30:05.250000Z",
        "time_from": "attribute",
        "host": "web1",
        "pid": 4242,
        "user": 33,
        "executable": "/usr/sbin/php-fpm8.2",
        "arguments": ["php-fpm: pool www"],
        "container": "0123456789ab",
        "unit": "php8.2-fpm.service",
        "package": "php8.2-fpm 8.2.29",
        "occurrences": 3,
    },
    "gdb": "GNU gdb 13.1",
    "isolation": "bubblewrap+seccomp as nobody",
    "warnings": ["no debug file"],
    "timing": {"read": 0.25, "gdb": 1.5},
}

BARE = Crash(
    id="0",
    core="/c",
    status=Status.ERROR,
    time=None,
    host=None,
    pid=None,
    executable=None,
    build_id=None,
    arguments=(),
    signal=None,
    runtime=None,
    threads=(),
    modules=(),
)


def through_text(crash: Crash) -> Crash:
    return crash_from_json(json.loads(json.dumps(crash_to_json(crash))))


def test_a_full_crash_is_the_contracts_object_in_its_order() -> None:
    assert json.dumps(crash_to_json(FULL)) == json.dumps(FULL_JSON)


@pytest.mark.parametrize("crash", [FULL, BARE, replace(BARE, runtime=Runtime(name="python"))])
def test_a_crash_comes_back_exactly(crash: Crash) -> None:
    assert through_text(crash) == crash


@pytest.mark.parametrize("crash", [FULL, BARE])
def test_a_filed_record_is_the_contracts_object_as_text(crash: Crash) -> None:
    kept = filed(Outcome(core=crash.core, status=crash.status, crash=crash)).crash

    assert kept is not None
    assert kept.text == json.dumps(crash_to_json(crash), separators=(",", ":"))


def test_modules_as_text_are_the_same_json_whatever_their_names_hold() -> None:
    odd = [
        Module(path=path, build_id=build, start=0, end=1 << 63, symbols=symbols, base=4096, deleted=deleted)
        for path in ('/tmp/"a\\b"\n%s{0}', "/lib/\udcff\u202e")
        for build in (None, "ab12")
        for symbols in Symbols
        for deleted in (False, True)
    ]

    assert modules_text(odd) == json.dumps(list(map(module_to_json, odd)), separators=(",", ":"))
    assert modules_text([]) == "[]"


def test_what_is_missing_is_null() -> None:
    bare = crash_to_json(BARE)

    assert {name for name, value in bare.items() if value is None} == {
        *("time", "host", "pid", "executable", "build_id", "signal", "runtime"),
        *("signature", "signature_title", "cluster", "instruction", "fault", "origin", "gdb", "isolation"),
    }


def test_an_address_of_nought_is_not_a_missing_one() -> None:
    crash = replace(BARE, signal=Signal(number=11, name="SIGSEGV", address=0))

    assert crash_to_json(crash)["signal"]["address"] == "0x0"
    assert through_text(crash) == crash


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (TIME, "2026-03-01T12:30:05Z"),
        (TIME.replace(microsecond=120), "2026-03-01T12:30:05.000120Z"),
        (TIME.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-03-01T12:30:05Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_utc_and_exact(moment: datetime, text: str) -> None:
    crash = replace(BARE, time=moment)

    assert crash_to_json(crash)["time"] == text
    assert through_text(crash) == crash


@pytest.mark.parametrize("hostile", ["\x00\x1b[2J\x7f", "\udcff.php", "\ud800", "\u202e\u2028", '"\\/', "\U0001f418"])
def test_any_text_survives(hostile: str) -> None:
    crash = replace(
        FULL,
        core=hostile,
        arguments=(hostile,),
        registers={hostile: 1},
        runtime=Runtime(name=hostile, options={hostile: hostile}),
    )
    text = json.dumps(crash_to_json(crash))

    assert text.isascii()
    assert crash_from_json(json.loads(text)) == crash


def test_keys_of_a_later_triage_are_passed_over() -> None:
    later = json.loads(json.dumps(FULL_JSON))
    for record in (later, later["signal"], later["runtime"], later["threads"][0]["frames"][0]):
        record["mood"] = "grim"

    assert crash_from_json(later) == FULL


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({}, "not a crash record: KeyError: 'id'"),
        (FULL_JSON | {"status": "fine"}, "not a crash record: ValueError: 'fine' is not a valid Status"),
        (FULL_JSON | {"time": "noon"}, "not a crash record: ValueError: Invalid isoformat string: 'noon'"),
        (
            FULL_JSON | {"threads": 3},
            "not a crash record: TypeError: 'int' object is not iterable",
        ),
        (
            FULL_JSON | {"registers": []},
            "not a crash record: AttributeError: 'list' object has no attribute 'items'",
        ),
    ],
)
def test_what_is_no_crash_is_a_value_error(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="not a crash record") as caught:
        crash_from_json(broken)
    assert str(caught.value) == message


def test_an_outcome_has_a_crash_or_an_error() -> None:
    failure = Failure(code="empty", message="the file is empty")

    assert outcome_to_json(Outcome(core="/a", status=Status.PARTIAL, crash=FULL)) == {
        "core": "/a",
        "status": "partial",
        "crash": FULL_JSON,
        "error": None,
    }
    assert outcome_to_json(Outcome(core="/b", status=Status.ERROR, failure=failure)) == {
        "core": "/b",
        "status": "error",
        "crash": None,
        "error": {"code": "empty", "message": "the file is empty"},
    }


def test_a_cluster_is_the_contracts_object() -> None:
    cluster = Cluster(
        id="C-3f9a2b",
        title="zend_execute",
        signature="v1:zend_execute",
        count=2,
        first_seen=TIME,
        last_seen=None,
        state=State.FIXED,
        crashes=("a", "b"),
        versions=("php 8.2.7",),
        hosts=("web-1",),
        decision=Decision(state=State.FIXED, at=TIME, by="ann", fixed_in="8.2.30"),
        flags=(Flag.REGRESSED,),
        remarks=("crashed again",),
    )
    expected = {
        "id": "C-3f9a2b",
        "title": "zend_execute",
        "signature": "v1:zend_execute",
        "count": 2,
        "first_seen": "2026-03-01T12:30:05Z",
        "last_seen": None,
        "state": "fixed",
        "severity": "crash",
        "crashes": ["a", "b"],
        "versions": ["php 8.2.7"],
        "hosts": ["web-1"],
        "note": None,
        "open": True,
        "flags": ["regressed"],
        "remarks": ["crashed again"],
        "decision": {
            "state": "fixed",
            "at": "2026-03-01T12:30:05Z",
            "by": "ann",
            "note": None,
            "bug": None,
            "until": None,
            "fixed_in": "8.2.30",
            "since": None,
            "began": "2026-03-01T12:30:05Z",
            "undone": None,
            "undone_by": None,
        },
    }

    assert json.dumps(cluster_to_json(cluster)) == json.dumps(expected)


def test_a_row_uses_the_crash_objects_names() -> None:
    row = CrashRow(
        id="a",
        core="/a",
        status=Status.OK,
        time=TIME,
        host=None,
        pid=1,
        executable="/usr/bin/php",
        signal="SIGSEGV",
        runtime="php 8.2.7",
        script=None,
        cluster="C-3f9a2b",
        title="zend_execute",
    )
    expected = {
        "id": "a",
        "core": "/a",
        "status": "ok",
        "time": "2026-03-01T12:30:05Z",
        "host": None,
        "pid": 1,
        "executable": "/usr/bin/php",
        "signal": "SIGSEGV",
        "runtime": "php 8.2.7",
        "script": None,
        "cluster": "C-3f9a2b",
        "title": "zend_execute",
    }

    assert json.dumps(crash_row_to_json(row)) == json.dumps(expected)
