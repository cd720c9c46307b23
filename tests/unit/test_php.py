"""PHP's structures read from memory that is whole, damaged, or made to mislead."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from triage.corefile import read_core
from triage.corefile.modules import MappedModule
from triage.model import LastError, MemoryUse, Request, Role, ScriptFrame, Worker
from triage.runtimes import detect
from triage.runtimes.php import facts, fpm, ini
from triage.runtimes.php.extensions import Extension, read_extensions
from triage.runtimes.php.frames import Frameless, StackReader, Walk
from triage.runtimes.php.globals import Php
from triage.runtimes.php.heap import Shape
from triage.runtimes.php.layout import known_versions, layout_for
from triage.runtimes.php.names import native_names
from triage.runtimes.php.reader import MAX_STRING, Element, Value
from triage.symbols import Finder

from . import makecore
from .makephp import BASE, EVAL, PhpMemory


def walk(
    php: PhpMemory, current: int | None, *, limit: int = 1000, before: int | None = None, cut: int | None = None
) -> Walk:
    reader = php.reader(cut=cut)
    return StackReader(reader, opline_before_exception=before).walk(current, limit=limit)


def names(found: Walk) -> list[str | None]:
    return [frame.function for frame in found.frames]


INCLUDE_OR_EVAL, HANDLE_EXCEPTION = 73, 149  # the same numbers in every version

# --- layouts


def test_layouts_of_known_versions() -> None:
    assert [f"8.{minor}-nts" in known_versions() for minor in range(7)] == [True] * 7
    layout = layout_for("8.2.36", zts=False)
    assert layout is not None
    # From Zend/zend_compile.h and zend_types.h of 8.2, counted by hand.
    assert [layout.offset("execute_data", name) for name in ("opline", "func", "This", "prev_execute_data")] == [
        *(0, 24, 32, 48)
    ]
    assert layout.place("execute_data", "This.u1") == (40, 4)
    assert layout.place("string", "len") == (16, 8)
    assert (layout.size("zval"), layout.size("bucket"), layout.size("op")) == (16, 32, 32)
    assert layout.has("array", "arData")
    assert not layout.has("array", "nonsense")
    assert layout.constant("ZEND_CALL_TOP") == 1 << 17
    assert layout.constant("NONSENSE") == 0
    with pytest.raises(KeyError):
        layout.place("array", "nonsense")


def test_every_layout_is_of_its_own_version() -> None:
    for key in known_versions():
        minor, mode = key.rsplit("-", 1)
        layout = layout_for(f"{minor}.99", zts=mode == "zts")
        assert layout is not None
        assert layout.key == key
        major, small = map(int, minor.split("."))
        assert layout.version_id // 100 == major * 100 + small


@pytest.mark.parametrize(
    "version",
    ["9.0.0", "8.99.1", "5.6.40", "8", "", "x.y", "8.2-dev", "8.02.1", "../8.2", "\uff18.2", "8.2\n", "8" * 999],
)
def test_no_neighbours_table_for_an_unknown_version(version: str) -> None:
    assert layout_for(version, zts=False) is None


def test_suffixes_of_a_version_do_not_matter() -> None:
    found = [layout_for(version, zts=False) for version in ("8.2.36-1+deb12u1", "8.2", "8.2.0RC1")]
    assert [layout.key for layout in found if layout is not None] == ["8.2-nts"] * 3


def test_on_aarch64_a_smaller_struct_stat_moves_what_follows_it() -> None:
    for key in known_versions():
        minor, mode = key.rsplit("-", 1)
        here = layout_for(minor, zts=mode == "zts")
        there = layout_for(minor, zts=mode == "zts", machine="aarch64")
        assert here is not None
        assert there is not None
        # Linux: 144 bytes on x86-64, 128 on aarch64.
        assert (here.place("sapi_globals", "global_stat"), there.place("sapi_globals", "global_stat")) == (
            (256, 144), (256, 128),
        )  # fmt: skip
        moved = {
            name: place[0] - there.offset("sapi_globals", name)
            for name, place in (here.places("sapi_globals") or {}).items()
        }
        assert moved == {name: 16 * (here.offset("sapi_globals", name) > 256) for name in moved}
        assert here.size("basic_globals") - there.size("basic_globals") == 32  # two of them
        assert here.places("executor_globals") == there.places("executor_globals")


@pytest.mark.parametrize("machine", ["riscv64", "i386", None, ""])
def test_no_layout_for_a_machine_never_measured(machine: str | None) -> None:
    assert layout_for("8.2.36", zts=False, machine=machine) is None


# --- values


def test_strings() -> None:
    php = PhpMemory()
    good, empty, foreign = php.string("Grüße"), php.string(""), php.string(b"caf\xe9\x1b")
    long = php.string("x" * 70_000)
    reader = php.reader()
    assert [reader.string(at) for at in (good, empty, foreign, 0, None)] == ["Grüße", "", "caf\\xe9\x1b", None, None]
    assert reader.string(long) == "x" * 65_536
    assert reader.string(good + 1) is None  # misaligned
    assert reader.string(0xDEAD0000) is None  # unmapped


@pytest.mark.parametrize("length", [4, 2, MAX_STRING, MAX_STRING + 1, 2**31, 2**63, 2**64 - 1])
def test_strings_of_an_absurd_length_are_no_strings(length: int) -> None:
    php = PhpMemory()
    at = php.string("abc", length=length)
    php.write(at + php.layout.offset("string", "val") + 3, b"\0")
    php.string("!" * 40)
    found = php.reader().string(at)
    assert found is None or (length == 4 and found == "abc\0")


def test_a_limit_holds_for_one_question_only() -> None:
    php = PhpMemory()
    at = php.string("abcdefgh")
    reader = php.reader()
    assert [reader.string(at, 4), reader.string(at)] == ["abcd", "abcdefgh"]


def test_hashes() -> None:
    php = PhpMemory()
    table = php.table([("a", "IS_LONG", 1), ("hole", "IS_UNDEF", 0), (None, "IS_TRUE", 0), ("b", "IS_LONG", 2)])
    reader = php.reader()
    data = reader.field(table, "array", "arData")
    assert data is not None
    assert list(reader.elements(table)) == [
        Element("a", Value(4, 1, data)),
        Element(None, Value(3, 0, data + 64)),
        Element("b", Value(4, 2, data + 96)),
    ]
    assert reader.find(table, "b") == Value(4, 2, data + 96)
    assert reader.find(table, "c") is None


@pytest.mark.parametrize(("version", "step"), [("8.1.2", 32), ("8.2.0", 16), ("8.4.1", 16)])
def test_packed_arrays_have_no_keys_since_8_2(version: str, step: int) -> None:
    php = PhpMemory(version)
    data = php.room(step * 3)
    for at in range(3):
        php.zval(data + at * step, "IS_LONG", 7 + at)
    flag = php.layout.constant("HASH_FLAG_PACKED")
    table = php.make("array", arData=data, nNumUsed=3, nTableSize=8, u__flags=flag)
    assert [element.value.payload for element in php.reader().elements(table)] == [7, 8, 9]


@pytest.mark.parametrize(
    "fields",
    [
        {"nNumUsed": 9, "nTableSize": 8},
        {"nNumUsed": 2**32 - 1, "nTableSize": 2**32 - 1},
        {"nNumUsed": 0, "nTableSize": 8},
        {"nNumUsed": 1, "nTableSize": 8, "arData": 0},
        {"nNumUsed": 1, "nTableSize": 8, "arData": 0xDEAD0000},
        {"nNumUsed": 1 << 20, "nTableSize": 1 << 20},
    ],
)
def test_damaged_hashes_have_no_elements(fields: dict[str, int]) -> None:
    php = PhpMemory()
    table = php.make("array", **{"arData": BASE, **fields})
    assert list(php.reader().elements(table)) == []


def test_unmapped_and_misaligned_pointers_are_not_followed() -> None:
    php = PhpMemory()
    inside = php.string("x")
    thing = php.make("object", ce=inside)
    odd = php.make("object", ce=inside + 4)
    gone = php.make("object", ce=0xDEAD0000)
    null = php.make("object")
    reader = php.reader()
    assert [reader.pointer(at, "object", "ce") for at in (thing, odd, gone, null)] == [inside, None, None, None]
    assert reader.field(thing, "object", "no such field") is None


# --- the stack


def test_a_whole_stack() -> None:
    php = PhpMemory()
    cart = php.class_("Shop\\Cart")
    main = php.frame(php.function(None, "/srv/index.php", (1, 2, 3)), line=2, top=True)
    method = php.frame(php.function("total", "/srv/Cart.php", (40, 41), scope=cart), main, line=1)
    mapping = php.frame(php.internal("array_map", 0x55D000), method, line=None)
    closure = php.frame(php.function("{closure}", "/srv/Cart.php", (44,)), mapping, top=True)
    found = walk(php, closure)
    frames = (
        ScriptFrame(kind="php", role=Role.USER, address=closure, function="{closure}", file="/srv/Cart.php", line=44,
                    ends_activation=True, opcode="ZEND_ADD"),
        ScriptFrame(kind="php", role=Role.INTERNAL, address=mapping, function="array_map", handler=0x55D000,
                    note="internal"),
        ScriptFrame(kind="php", role=Role.USER, address=method, function="total", class_name="Shop\\Cart",
                    file="/srv/Cart.php", line=41, call="::", opcode="ZEND_ADD"),
        ScriptFrame(kind="php", role=Role.MAIN, address=main, function="{main}", file="/srv/index.php", line=3,
                    ends_activation=True, opcode="ZEND_ADD"),
    )  # fmt: skip
    assert found == Walk(frames, 4, ())


@pytest.mark.parametrize("version", ["7.0.33", "7.4.33", "8.0.30", "8.1.2", "8.3.1", "8.4.1", "8.5.0"])
@pytest.mark.parametrize("zts", [False, True])
def test_a_stack_of_each_version(version: str, zts: bool) -> None:
    php = PhpMemory(version, zts=zts)
    main = php.frame(php.function(None, "/srv/index.php", (1, 2)), line=1, top=True)
    inner = php.frame(php.internal("strlen", 0x1234), php.frame(php.function("f"), main, line=2), line=None)
    found = walk(php, inner)
    assert [(f.function, f.line, f.handler, f.ends_activation) for f in found.frames] == [
        ("strlen", None, 0x1234, False),
        ("f", 12, None, False),
        ("{main}", 2, None, True),
    ]


@pytest.mark.parametrize(
    ("statement", "name"),
    [(2, "include"), (4, "include_once"), (8, "require"), (16, "require_once"), (1, "eval"), (99, "{main}")],
)
def test_file_code_is_named_by_the_statement_that_runs_it(statement: int, name: str) -> None:
    php = PhpMemory()
    function = php.function(None, "/srv/index.php", (5,))
    php.set(php.opline(function, 0), "op", opcode=INCLUDE_OR_EVAL, extended_value=statement)
    main = php.frame(function, top=True)
    included = php.frame(php.function(None, "/srv/inc.php"), main, top=True)
    found = walk(php, included)
    assert names(found) == [name, "{main}"]
    assert [frame.role for frame in found.frames] == [Role.MAIN if statement == 99 else Role.INCLUDE, Role.MAIN]


def test_evaluated_code() -> None:
    php = PhpMemory()
    main = php.frame(php.function(None), top=True)
    found = walk(php, php.frame(php.function(None, "x.php(1) : eval()'d code", kind=EVAL), main, top=True))
    assert [(frame.function, frame.role) for frame in found.frames] == [("eval", Role.EVAL), ("{main}", Role.MAIN)]


def test_a_frame_in_exception_handling_stands_where_it_threw() -> None:
    php = PhpMemory()
    function = php.function("f", lines=(10, 11, 12))
    handler = php.make("op", opcode=HANDLE_EXCEPTION)
    frame = php.frame(function)
    php.set(frame, "execute_data", opline=handler)
    (found,) = walk(php, frame, before=php.opline(function, 1)).frames
    assert (found.line, found.note) == (11, None)
    (lost,) = walk(php, frame).frames
    assert (lost.line, lost.note) == (None, "line unknown: the saved position is outside this function's code")


@pytest.mark.parametrize("opline", [0, 0xDEAD0000, 1, 2**64 - 8])
def test_a_position_outside_of_the_code_gives_no_line(opline: int) -> None:
    php = PhpMemory()
    frame = php.frame(php.function("f"))
    php.set(frame, "execute_data", opline=opline)
    (found,) = walk(php, frame).frames
    assert (found.function, found.file, found.line) == ("f", "/srv/x.php", None)
    assert found.note == "line unknown: the saved position is outside this function's code"


def test_the_end_of_the_code_is_exclusive() -> None:
    php = PhpMemory()
    function = php.function("f", lines=(10, 11))
    (found,) = walk(php, php.frame(function, line=2)).frames
    assert found.line is None


@pytest.mark.parametrize("kind", ["unmapped", "misaligned", "no function", "name is no string"])
def test_a_broken_function_is_marked_and_not_guessed(kind: str) -> None:
    php = PhpMemory()
    main = php.frame(php.function(None), top=True)
    target = {
        "unmapped": 0xDEAD0000,
        "misaligned": php.function("odd") + 4,
        "no function": php.room(256),
        "name is no string": php.set(php.function("f"), "op_array", function_name=0xDEAD0000),
    }[kind]
    frame = php.make("execute_data", func=target, prev_execute_data=main)
    found = walk(php, frame)
    assert found.frames[0] == ScriptFrame(
        kind="php",
        role=Role.USER,
        address=frame,
        function=None,
        note=f"unreadable: function record {target:#x} is not mapped or not a function",
    )
    assert names(found) == [None, "{main}"]


def test_dummy_frames_are_no_calls() -> None:
    php = PhpMemory()
    main = php.frame(php.function(None), top=True)
    assert names(walk(php, php.make("execute_data", prev_execute_data=main))) == ["{main}"]


def test_a_chain_that_bites_its_tail_ends() -> None:
    php = PhpMemory()
    function = php.function("f")
    first = php.frame(function)
    second = php.frame(function, first)
    php.set(first, "execute_data", prev_execute_data=second)
    found = walk(php, second)
    assert (names(found), found.warnings) == (
        ["f", "f"],
        (f"the PHP stack loops back to frame {second:#x}; cut there",),
    )


@pytest.mark.parametrize("previous", [0xDEAD0000, 0x1003, 2**64 - 8])
def test_a_chain_that_leaves_memory_ends(previous: int) -> None:
    php = PhpMemory()
    found = walk(php, php.frame(php.function("f"), previous))
    assert (names(found), found.warnings) == (
        ["f"],
        (f"the PHP stack leads to {previous:#x}, which is not readable; cut there",),
    )


@pytest.mark.parametrize("current", [None, 0])
def test_no_frame_at_all(current: int | None) -> None:
    assert walk(PhpMemory(), current) == Walk((), 0, ())


def test_a_first_frame_that_is_not_readable_is_said() -> None:
    said = "the PHP stack leads to 0xdead0000, which is not readable; cut there"
    assert walk(PhpMemory(), 0xDEAD0000) == Walk((), 0, (said,))


def test_a_deep_stack_is_bounded() -> None:
    php = PhpMemory()
    function, frame = php.function("f"), 0
    for _ in range(50):
        frame = php.frame(function, frame)
    found = walk(php, frame, limit=20)
    assert (names(found), found.warnings) == (["f"] * 20, ("more than 20 PHP frames; the outermost are left out",))
    assert walk(php, frame, limit=50).warnings == ()


def test_a_chain_that_ends_inside_of_a_frame_is_said() -> None:
    php = PhpMemory()
    function = php.function("f")
    inner = php.frame(function)
    outer = php.frame(function)  # the last thing in memory
    php.set(inner, "execute_data", prev_execute_data=outer)
    found = walk(php, inner, cut=outer + 16)
    assert names(found)[:1] == ["f"]
    assert len(found.warnings) == 1


def delegation(php: PhpMemory, count: int, previous: int = 0) -> int:
    """`count` generators that delegate to each other; returns the frame of the running one."""
    generator = php.class_("Generator")
    body = php.function("gen")
    nodes = [php.make("generator", execute_data=php.frame(body, top=True)) for _ in range(count + 1)]
    for node, parent in zip(nodes, [*nodes[1:], 0], strict=True):
        php.set(node, "generator", node__parent=parent)
        php.set(node, "object", ce=generator)
    dummy = php.make("execute_data", prev_execute_data=previous)
    php.zval(dummy + php.layout.offset("execute_data", "This"), "IS_OBJECT", nodes[0])
    return dummy


def test_delegating_generators_stand_where_the_dummy_frame_was() -> None:
    php = PhpMemory()
    main = php.frame(php.function(None), top=True)
    running = php.frame(php.function("inner"), delegation(php, 2, main), top=True)
    found = walk(php, running)
    assert names(found) == ["inner", "gen", "gen", "{main}"]
    assert [frame.ends_activation for frame in found.frames] == [False, False, True, True]


def test_generators_count_towards_the_limit() -> None:
    php = PhpMemory()
    begun = time.process_time()
    found = walk(php, delegation(php, 300), limit=20)
    assert len(found.frames) <= 20
    assert time.process_time() - begun < 1


def test_a_function_called_without_a_frame() -> None:
    php = PhpMemory("8.4.1")
    functions, handlers = php.room(16), php.room(16)
    php.number(functions + 8, php.internal("in_array", 0x77))
    php.number(handlers + 8, 0x55)
    main = php.function(None, lines=(5,))
    php.set(php.opline(main, 0), "op", opcode=207, extended_value=1)
    frame = php.frame(main, top=True)

    def read(table: Frameless | None) -> list[tuple[str | None, Role, int | None]]:
        found = StackReader(php.reader(), opline_before_exception=None, frameless=table).walk(frame, limit=10)
        return [(one.function, one.role, one.handler) for one in found.frames]

    outer: tuple[str | None, Role, int | None] = ("{main}", Role.MAIN, None)
    assert read(Frameless(functions, handlers)) == [("in_array", Role.INTERNAL, 0x55), outer]
    assert read(None) == [outer]
    assert read(Frameless(0xDEAD0000, 0xDEAD0000)) == [outer]
    php.set(php.opline(main, 0), "op", extended_value=2**32 - 1)
    assert read(Frameless(functions, handlers)) == [outer]


# --- facts


def instance(php: PhpMemory, **addresses: int) -> Php:
    module = MappedModule("/usr/bin/php8.2", 0x1000, 0x2000, 0x1000, None, False)
    return Php(module, addresses, "8.2.36", (), False, False, php.layout)


def test_last_error_with_secrets_hidden() -> None:
    php = PhpMemory()
    core = php.make(
        "core_globals",
        last_error_type=1,
        last_error_message=php.string("Uncaught PDOException: mysql://root:hunter2@db/x refused"),
        last_error_file=php.string("/srv/index.php"),
        last_error_lineno=42,
    )
    found = facts.last_error(php.reader(), instance(php, core_globals=core))
    message = "Uncaught PDOException: mysql://[redacted]@db/x refused"
    assert found == LastError(type="E_ERROR", message=message, file="/srv/index.php", line=42)
    assert facts.last_error(php.reader(), instance(php)) is None
    empty = php.make("core_globals")
    assert facts.last_error(php.reader(), instance(php, core_globals=empty)) is None


def test_last_error_was_made_of_c_strings_once() -> None:
    php = PhpMemory("7.4.33")
    core = php.make("core_globals", last_error_type=2, last_error_message=php.c_string("old"),
                    last_error_file=php.c_string("/old.php"), last_error_lineno=1)  # fmt: skip
    found = facts.last_error(php.reader(), instance(php, core_globals=core))
    assert found == LastError(type="E_WARNING", message="old", file="/old.php", line=1)


def test_request_without_its_query() -> None:
    php = PhpMemory()
    sapi = php.make(
        "sapi_globals",
        request_info__request_method=php.c_string("POST"),
        request_info__request_uri=php.c_string("/cart?token=hunter2"),
    )
    assert facts.request(php.reader(), instance(php, sapi_globals=sapi)) == Request(method="POST", uri="/cart")
    none = php.make("sapi_globals")
    assert facts.request(php.reader(), instance(php, sapi_globals=none)) is None


def test_memory_accounting_must_add_up() -> None:
    php = PhpMemory()
    core = php.make("core_globals", memory_limit=128 << 20)
    nothing = dict.fromkeys(("heap", "main", "bitmap", "map", "free_slots", "huge_list", "real_size", "limit"), 0)
    shape = Shape(**nothing, key=None, size=5, peak=7)
    off = "the allocator is off"
    heaps = (shape, off, replace(shape, size=8))
    found = [facts.memory(php.reader(), instance(php, core_globals=core), heap) for heap in heaps]
    assert found == [
        MemoryUse(used=5, peak=7, limit=128 << 20),
        MemoryUse(used=None, peak=None, limit=128 << 20),
        MemoryUse(used=None, peak=None, limit=128 << 20),
    ]
    php.set(core, "core_globals", memory_limit=2**64 - 1)
    assert facts.memory(php.reader(), instance(php, core_globals=core), off) is None


def test_extensions_and_their_functions_have_names() -> None:
    php = PhpMemory()
    entry = php.make(
        "module_entry",
        name=php.c_string("Redis"),
        version=php.c_string("6.0"),
        module_startup_func=0x10,
        request_shutdown_func=0x20,
        zend_debug=1,
    )
    registry = php.table([("redis", "IS_PTR", entry), ("gone", "IS_PTR", 0xDEAD0000)])
    functions = php.table([("strlen", "IS_PTR", php.internal("strlen", 0x30)), ("bad", "IS_PTR", 0xDEAD0000)])
    reader = php.reader()
    extension = Extension(name="Redis", version="6.0", entry=entry, zts=False, debug=True, api=0)
    found = read_extensions(reader, registry)
    assert [one._replace(within=0) for one in found] == [extension]
    assert reader.c_string(found[0].within) == "Redis"
    assert native_names(reader, functions, None, [extension]) == {
        0x10: "zm_startup_redis",
        0x20: "zm_deactivate_redis",
        0x30: "zif_strlen",
    }


def test_only_changed_directives_are_told_and_secrets_are_not() -> None:
    php = PhpMemory()

    def entry(name: str, value: str, *, modified: int) -> tuple[str, str, int]:
        made = php.make("ini_entry", name=php.string(name), value=php.string(value), modified=modified)
        return name, "IS_PTR", made

    rows = [
        entry("memory_limit", "1G", modified=1),
        entry("display_errors", "0", modified=0),
        entry("mysqli.default_pw", "hunter2", modified=1),
    ]
    table = php.table([*rows, ("another key", "IS_PTR", rows[0][2])])
    found = ini.changed(ini.directives(php.reader(), table, lambda owner: []))
    assert found == {"memory_limit": "1G", "mysqli.default_pw": "[redacted]"}


def test_a_directive_whose_name_is_longer_than_any_definitions_has_no_default() -> None:
    # The length of a name in a damaged core can be anything; a definition has two bytes for it.
    php = PhpMemory()
    name = "a" * 0x10000
    made = php.make("ini_entry", name=php.string(name), value=php.string("1"), modified=0)
    table = php.table([(name, "IS_PTR", made)])
    found = list(ini.directives(php.reader(), table, lambda owner: [(0x1000, bytes(256))]))
    assert [(one.name, one.value, one.known) for one in found] == [(name, "1", False)]


def test_a_process_number_that_no_kernel_gives_is_looked_for_and_not_found() -> None:
    told = makecore.prpsinfo(pid=-7, name=b"php-fpm8.2", arguments=b"php-fpm: pool www")
    region = makecore.Load(0x7F0000000000, bytes(4096), flags=makecore.PF_R | makecore.PF_W)
    core = makecore.Core(notes=[makecore.prstatus(), told], loads=[region])
    read = read_core(Path("/core"), core.build())
    shared = [region for region in read.memory.regions() if region.flags & makecore.PF_W]
    assert [(region.start, read.notes.process.pid) for region in shared if read.notes.process] == [
        (0x7F0000000000, -7)
    ]
    assert fpm.worker(read, shared, at_crash=1.7e9) == Worker(pool="www")


# --- detection


def core_with(path: str) -> makecore.Core:
    files = [(makecore.PROGRAM, makecore.PROGRAM + 4 * makecore.PAGE, 0, path.encode())]
    page = makecore.elf_page(makecore.PROGRAM_ID)
    return makecore.Core(
        notes=[makecore.prstatus(), makecore.auxv({9: makecore.PROGRAM + 0x40}), makecore.nt_file(files)],
        loads=[makecore.Load(makecore.PROGRAM, page, flags=makecore.PF_R)],
    )


def test_php_that_is_not_on_this_machine_is_said(tmp_path: Path) -> None:
    core = read_core(Path("/core"), core_with(f"{tmp_path}/php8.2").build())
    assert detect(core, Finder()) == (
        f"PHP's own state was not read: {tmp_path}/php8.2 is not on this machine "
        f"(build-id {makecore.PROGRAM_ID.hex()}). Give its folder with --sysroot or --debug-dir."
    )


def test_php_of_another_build_is_said_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "php8.2").write_bytes(Path("/bin/true").read_bytes())
    core = read_core(Path("/core"), core_with(f"{tmp_path}/php8.2").build())
    assert detect(core, Finder()) == (
        f"PHP's own state was not read: {tmp_path}/php8.2 is of another build than the one that crashed "
        f"(build-id {makecore.PROGRAM_ID.hex()}). Give its folder with --sysroot or --debug-dir."
    )


def test_a_plain_program_is_no_php(tmp_path: Path) -> None:
    core = read_core(Path("/core"), core_with(f"{tmp_path}/nginx").build())
    assert detect(core, Finder()) is None
