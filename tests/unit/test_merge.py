"""The two stacks put together: whole results, frame by frame."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from triage.merge import Merged, Names, merge
from triage.model import Frame, NativeFrame, NativeThread, Role, ScriptFrame

PHP = "/usr/bin/php"
BASE = 0x10000
NAMES = Names(loops=frozenset({"execute_ex"}))
MARRAY_MAP, MSORT = 0x11000, 0x12000


def native(
    function: str | None, *, register: int | None = None, start: int | None = None, pc: int = 0
) -> NativeFrame:
    at = pc or (start or 0x13000) + 8
    return NativeFrame(
        level=0, pc=at, function=function, module=PHP, offset=at - BASE, function_start=start, vm_register=register
    )


def stack(
    *frames: NativeFrame, depth: int | None = None, gap: int = 0, gap_at: int = 0, stop: str | None = None
) -> NativeThread:
    return NativeThread(
        id=1,
        name="php",
        crashed=True,
        frames=frames,
        depth=len(frames) + gap if depth is None else depth,
        gap=gap,
        gap_at=gap_at,
        stop=stop,
    )


def user(name: str, address: int = 0, *, ends: bool = False, role: Role = Role.USER) -> ScriptFrame:
    return ScriptFrame(
        kind="php", role=role, address=address, function=name, file="/x.php", line=3, ends_activation=ends
    )


def main(address: int = 0) -> ScriptFrame:
    return user("{main}", address, ends=True, role=Role.MAIN)


def internal(name: str, handler: int | None, address: int = 0) -> ScriptFrame:
    return ScriptFrame(
        kind="php", role=Role.INTERNAL, address=address, function=name, handler=handler, note="internal"
    )


def shown(merged: Merged) -> list[str]:
    """`php:name`, `native:name` or `gap:note`, one a frame."""
    return [f"{frame.kind}:{frame.note if frame.kind == 'gap' else frame.function}" for frame in merged.frames]


def plain(frames: Sequence[str]) -> tuple[list[str], int, bool, tuple[str, ...]]:
    return list(frames), len(frames), False, ()


def told(merged: Merged) -> tuple[list[str], int, bool, tuple[str, ...]]:
    return shown(merged), merged.depth, merged.truncated, merged.warnings


LOOP, START, CRASH = native("execute_ex"), native("main"), native("memcpy")


def test_a_simple_script_whole() -> None:
    merged = merge(stack(CRASH, LOOP, START), [user("f"), main()], NAMES)
    assert merged == Merged(
        frames=(
            Frame(kind="native", function="memcpy", module=PHP, offset=0x3008, address=0x13008),
            Frame(kind="php", function="f", file="/x.php", line=3),
            Frame(kind="php", function="{main}", file="/x.php", line=3),
            Frame(kind="native", function="execute_ex", module=PHP, offset=0x3008, address=0x13008),
            Frame(kind="native", function="main", module=PHP, offset=0x3008, address=0x13008),
        ),
        depth=5,
        truncated=False,
        warnings=(),
    )


def test_an_internal_function_sits_at_its_handlers_frame() -> None:
    frames = [CRASH, native("zend_sort"), native("zif_sort", start=MSORT), LOOP, START]
    merged = merge(stack(*frames), [internal("sort", MSORT), user("f"), main()], NAMES)
    expected = ["native:memcpy", "native:zend_sort", "native:zif_sort", "php:sort", "php:f", "php:{main}"]
    assert told(merged) == plain([*expected, "native:execute_ex", "native:main"])
    assert merged.frames[3] == Frame(kind="php", function="sort", note="internal")


def test_an_internal_function_without_its_frame_is_placed_at_the_loop() -> None:
    merged = merge(stack(CRASH, LOOP), [internal("sort", MSORT), main()], NAMES)
    assert told(merged) == plain(["native:memcpy", "php:sort", "php:{main}", "native:execute_ex"])


def test_a_callback_nests_one_activation_in_another() -> None:
    script = [user("callback", ends=True), internal("array_map", MARRAY_MAP), user("f"), main()]
    frames = [CRASH, LOOP, native("zend_call_function"), native("zif_array_map", start=MARRAY_MAP), LOOP, START]
    expected = [
        *("native:memcpy", "php:callback", "native:execute_ex", "native:zend_call_function"),
        *("native:zif_array_map", "php:array_map", "php:f", "php:{main}", "native:execute_ex", "native:main"),
    ]
    assert told(merge(stack(*frames), script, NAMES)) == plain(expected)


def test_an_include_is_an_activation_of_its_own() -> None:
    script = [user("g"), user("include", ends=True, role=Role.INCLUDE), user("f"), main()]
    frames = [CRASH, LOOP, native("zend_include_or_eval_handler"), LOOP, START]
    expected = [
        *("native:memcpy", "php:g", "php:include", "native:execute_ex", "native:zend_include_or_eval_handler"),
        *("php:f", "php:{main}", "native:execute_ex", "native:main"),
    ]
    assert told(merge(stack(*frames), script, NAMES)) == plain(expected)


def test_registers_that_agree_change_nothing() -> None:
    script = [user("cb", 0x100, ends=True), internal("array_map", MARRAY_MAP, 0x200), main(0x300)]
    frames = [native("execute_ex", register=0x100), native("zif_array_map", start=MARRAY_MAP),
              native("execute_ex", register=0x300)]  # fmt: skip
    expected = ["php:cb", "native:execute_ex", "native:zif_array_map", "php:array_map", "php:{main}"]
    assert told(merge(stack(*frames), script, NAMES)) == plain([*expected, "native:execute_ex"])


def test_a_register_that_names_a_frame_beyond_its_activation_is_not_believed() -> None:
    script = [user("a", 0x100, ends=True), user("b", 0x200, ends=True), main(0x300)]
    merged = merge(stack(native("execute_ex", register=0x300), LOOP, LOOP), script, NAMES)
    assert told(merged) == (
        ["php:a", "native:execute_ex", "php:b", "native:execute_ex", "php:{main}", "native:execute_ex"],
        6,
        False,
        (
            "native frame 0 and the script stack disagree: the loop's register names a frame beyond the end of "
            "its own activation; frames were assigned by counting",
        ),
    )


def test_script_frames_deeper_than_the_register_says_are_shown_and_said() -> None:
    script = [user("deeper", 0x100), user("named", 0x200), main(0x300)]
    merged = merge(stack(native("execute_ex", register=0x200)), script, NAMES)
    assert told(merged) == (
        ["php:deeper", "php:named", "php:{main}", "native:execute_ex"],
        4,
        False,
        ("native frame 0: 1 script frames are deeper than the one its register names; they are shown above it",),
    )


def test_a_register_left_over_from_an_inner_activation_is_not_used() -> None:
    script = [user("a", 0x100, ends=True), user("b", 0x200), main(0x300)]
    frames = [native("execute_ex", register=0x100), native("execute_ex", register=0x100)]
    assert told(merge(stack(*frames), script, NAMES)) == plain(
        ["php:a", "native:execute_ex", "php:b", "php:{main}", "native:execute_ex"]
    )


def test_nothing_is_believed_beyond_jit_code() -> None:
    names = Names(loops=NAMES.loops, code=((0x7000, 0x8000),))
    jit = native(None, pc=0x7010)
    merged = merge(stack(CRASH, jit, native("invented"), START), [user("hot"), main()], names)
    assert told(merged) == (
        ["native:memcpy", "php:hot", "php:{main}", "native:JIT[hot]"],
        4,
        False,
        (
            "the native stack was followed as far as code made by the JIT, which has no unwind tables; below it "
            "only the script's own frames are shown",
        ),
    )
    assert merged.frames[3].note == "jit"


def test_beyond_jit_code_what_the_interpreters_own_rules_found_is_believed() -> None:
    names = Names(loops=NAMES.loops, code=((0x7000, 0x8000),))
    jit = native(None, pc=0x7010)
    caller = native("zend_execute")._replace(trust="frame-pointer")
    merged = merge(stack(CRASH, jit, caller, START), [user("hot"), main()], names)
    expected = ["native:memcpy", "php:hot", "php:{main}", "native:JIT[hot]", "native:zend_execute", "native:main"]
    assert told(merged) == plain(expected)
    assert [frame.trust for frame in merged.frames] == [None, None, None, None, "frame-pointer", None]


def test_the_end_of_jit_code_is_exclusive() -> None:
    names = Names(code=((0x7000, 0x8000),))
    merged = merge(stack(native("after", pc=0x8000), START), [], names)
    assert told(merged) == plain(["native:after", "native:main"])


def test_script_frames_that_no_native_frame_claims_are_shown_last() -> None:
    merged = merge(stack(CRASH, LOOP, stop="previous frame identical"), [user("a", ends=True), main()], NAMES)
    assert told(merged) == (
        ["native:memcpy", "php:a", "native:execute_ex", "php:{main}"],
        4,
        False,
        (
            "the native stack ended before the script's (previous frame identical): the outermost 1 script frames "
            "have no native frame beside them",
        ),
    )


def test_unclaimed_script_frames_are_said_beside_other_warnings() -> None:
    script = [user("deeper", 0x100), user("named", 0x200, ends=True), main(0x300)]
    merged = merge(stack(native("execute_ex", register=0x200)), script, NAMES)
    assert shown(merged)[-1] == "php:{main}"
    assert [warning[:30] for warning in merged.warnings] == [
        "native frame 0: 1 script frame",
        "the native stack ended before ",
    ]


def test_only_native_frames() -> None:
    assert told(merge(stack(CRASH, START), [], NAMES)) == plain(["native:memcpy", "native:main"])
    assert told(merge(stack(CRASH, LOOP, LOOP), [], NAMES)) == plain(
        ["native:memcpy", "native:execute_ex", "native:execute_ex"]
    )


def test_only_script_frames() -> None:
    merged = merge(stack(), [user("f"), main()], NAMES)
    assert told(merged) == (
        ["php:f", "php:{main}"],
        2,
        False,
        (
            "the native stack ended before the script's: the outermost 2 script frames have no native frame "
            "beside them",
        ),
    )


def test_nothing_at_all() -> None:
    assert merge(stack(), [], NAMES) == Merged((), 0, False, ())


def test_names_for_frames_without_symbols() -> None:
    names = Names(functions={MARRAY_MAP: "zif_array_map"})
    frames = [
        native(None, start=MARRAY_MAP),
        native(None, start=0x12340),
        native(None),
        NativeFrame(level=3, pc=0xDEAD),
        NativeFrame(level=4, pc=0x14000, function=None, signal_handler=True),
        NativeFrame(level=5, pc=0x14000, function="own", inlined=True, file="a.c", line=7, note="kept"),
    ]
    merged = merge(stack(*frames), [], names)
    assert merged.frames == (
        Frame(kind="native", function="zif_array_map", module=PHP, offset=0x1008, address=0x11008,
              note="named by the interpreter's function table"),
        Frame(kind="native", function="sub_2340", module=PHP, offset=0x2348, address=0x12348),
        Frame(kind="native", module=PHP, offset=0x3008, address=0x13008),
        Frame(kind="native", address=0xDEAD, note="not in any module"),
        Frame(kind="native", address=0x14000, note="signal handler"),
        Frame(kind="native", function="own", address=0x14000, inlined=True, file="a.c", line=7, note="kept"),
    )  # fmt: skip


def test_an_inlined_frame_of_the_loop_is_no_activation() -> None:
    inlined = NativeFrame(level=0, pc=0x13008, function="execute_ex", module=PHP, offset=0x3008, inlined=True)
    assert told(merge(stack(inlined, LOOP), [main()], NAMES)) == plain(
        ["native:execute_ex", "php:{main}", "native:execute_ex"]
    )


def test_a_gap_hides_native_frames_and_the_script_frames_below_it() -> None:
    script = [user("a", 0x100, ends=True), user("lost", 0x200, ends=True), user("b", 0x300), main(0x400)]
    frames = [native("execute_ex", register=0x100), native("execute_ex", register=0x300), START]
    merged = merge(stack(*frames, gap=50, gap_at=1), script, NAMES)
    assert (shown(merged), merged.truncated, merged.warnings) == (
        [
            *("php:a", "native:execute_ex", "gap:50 native frames and 1 script frames in between are not shown"),
            *("php:b", "php:{main}", "native:execute_ex", "native:main"),
        ],
        True,
        (),
    )


def test_depth_is_the_true_number_of_frames() -> None:
    script = [user("a", 0x100, ends=True), user("lost", 0x200, ends=True), user("b", 0x300), main(0x400)]
    frames = [native("execute_ex", register=0x100), native("execute_ex", register=0x300), START]
    assert merge(stack(*frames, gap=50, gap_at=1), script, NAMES).depth == 3 + 50 + 4


def test_a_gap_without_any_register_is_closed_from_the_outer_end() -> None:
    loop = native("execute_ex")
    script = [
        user("a", ends=True),
        user("b", ends=True),
        user("c", ends=True),
        user("d"),
        user("e", ends=True),
        main(),
    ]
    merged = merge(stack(loop, loop, loop, gap=9, gap_at=1), script, NAMES)
    assert told(merged) == (
        [
            *("php:a", "native:execute_ex", "gap:9 native frames and 2 script frames in between are not shown"),
            *("php:d", "php:e", "native:execute_ex", "php:{main}", "native:execute_ex"),
        ],
        3 + 9 + 6,
        True,
        (),
    )


def test_a_gap_at_the_outer_end_is_shown() -> None:
    merged = merge(stack(CRASH, gap=50, gap_at=1), [], NAMES)
    assert (shown(merged), merged.truncated) == (
        ["native:memcpy", "gap:50 native frames in between are not shown"],
        True,
    )


def test_after_a_gap_a_loop_frame_without_register_keeps_its_own_frames() -> None:
    script = [user("a", 0x100, ends=True), user("b", 0x200, ends=True), main(0x300)]
    frames = [native("execute_ex", register=0x100), LOOP, native("execute_ex", register=0x300), START]
    merged = merge(stack(*frames, gap=5, gap_at=1), script, NAMES)
    assert shown(merged)[-3:] == ["php:{main}", "native:execute_ex", "native:main"]


def test_a_long_stack_is_cut_in_its_middle() -> None:
    frames = [native(f"f{at}") for at in range(100)]
    merged = merge(stack(*frames), [], NAMES, most=10)
    assert (merged.depth, merged.truncated) == (100, True)
    lost = 100 - (len(merged.frames) - 1)
    assert shown(merged) == [
        *(f"native:f{at}" for at in range(6)),
        f"gap:{lost} frames in between are not shown",
        *(f"native:f{at}" for at in range(100 - (len(merged.frames) - 7), 100)),
    ]
    assert told(merge(stack(*frames), [], NAMES, most=100)) == plain([f"native:f{at}" for at in range(100)])


@pytest.mark.parametrize("most", [1, 2, 3, 9, 99])
def test_at_most_means_at_most(most: int) -> None:
    merged = merge(stack(*[native(f"f{at}") for at in range(100)]), [], NAMES, most=most)
    assert len(merged.frames) <= most
    assert merged.truncated


def random_stack(chance: random.Random) -> tuple[NativeThread, list[ScriptFrame]]:
    """Native and script frames that were really one stack, or that do not fit at all."""
    script: list[ScriptFrame] = []
    frames: list[NativeFrame] = []
    for at in range(chance.randrange(12)):
        address = 0x1000 + at * 16
        kind = chance.randrange(3)
        if kind == 0:
            script.append(internal(f"i{at}", chance.choice((MSORT, MARRAY_MAP, None)), address))
        else:
            script.append(user(f"u{at}", address, ends=kind == 1))
    for at in range(chance.randrange(14)):
        kind = chance.randrange(3)
        if kind == 0:
            register = chance.choice([None, 0x9999, *(frame.address for frame in script)])
            frames.append(native("execute_ex", register=register))
        else:
            frames.append(native(f"n{at}", start=chance.choice((MSORT, MARRAY_MAP, None))))
    gap_at = chance.randrange(len(frames)) if frames and chance.randrange(3) == 0 else 0
    return stack(*frames, gap=chance.choice((0, 7)) if gap_at else 0, gap_at=gap_at), script


def test_no_frame_is_lost_doubled_or_moved() -> None:
    chance = random.Random(20260305)
    gaps = 0
    for _ in range(5000):
        thread, script = random_stack(chance)
        merged = merge(thread, script, NAMES)
        names = [frame.function for frame in merged.frames if frame.kind == "php"]
        every = [frame.function for frame in script]
        hidden = 0
        if thread.gap:
            gaps += 1
            (note,) = [frame.note or "" for frame in merged.frames if frame.kind == "gap"]
            hidden = int(note.split(" and ")[1].split()[0]) if " and " in note else 0
            before = [f.kind for f in merged.frames]
            split = before[: before.index("gap")].count("php")
            assert names == every[:split] + every[split + hidden :]
        else:
            assert names == every
        assert [frame.function for frame in merged.frames if frame.kind == "native"] == [
            frame.function for frame in thread.frames
        ]
        assert merged.truncated == (thread.gap > 0)
        assert len(names) + hidden == len(every)
    assert gaps > 100
