"""How alike two crashes are: native code, the door to it, and what could not be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.stacks import BUILDS, EXT, LIBC, OTHERS, PHP, SEGV, builtin, native, php, thread
from triage.cluster.profile import Profile, dump, load, profile_of, tokens
from triage.cluster.shape import read
from triage.cluster.signature import sign
from triage.cluster.similarity import Row, compare, weights
from triage.cluster.symptom import access, reach
from triage.cluster.traits import normal
from triage.model import AccessKind, Crash, Fault, Frame, Module, Operand, Status, Symbols

A, B, C = (native(name, EXT, at=0x1000 * number) for number, name in enumerate(("alpha", "beta", "gamma"), 1))


def compared(one: tuple[Frame, ...], other: tuple[Frame, ...], builds: dict[str, str | None] | None = None) -> float:
    first = Profile(steps=read(thread(*one), BUILDS).steps, signal="SIGSEGV")
    second = Profile(steps=read(thread(*other), BUILDS if builds is None else builds).steps, signal="SIGSEGV")
    assert load(dump(first)) == first
    assert compare(first, second).score == pytest.approx(compare(second, first).score)
    return compare(first, second).score


def test_likeness_weighs_the_place_of_death_most() -> None:
    assert compared((A, B, C), (A, B, C)) == 1.0
    assert compared((A, B), (A, B, C)) > compared((A, C), (B, C))
    assert compared((A, B), (A, C)) > compared((A, C), (B, C))
    assert compared((A, B), (A, B, C)) > weights().join > compared((A, B), (A, C))
    assert compared((A,), (B,)) == 0.0


def test_what_a_build_has_no_name_for_is_hardly_held_against_it() -> None:
    other: dict[str, str | None] = {EXT: "dd" * 20}
    unnamed = native("sub_7777", EXT, at=0x7000)
    assert compared((A, unnamed, php("f")), (A, B, php("f"))) > compared((A, C, php("f")), (A, B, php("f")))
    # Within one build unnamed code is as good as named.
    assert compared((unnamed, A), (unnamed, A)) == 1.0
    assert compared((unnamed,), (native("sub_8888", EXT, at=0x8000),)) == 0.0
    assert compared((unnamed, A), (unnamed, A), other) > compared((unnamed, A), (native("sub_8888", EXT), A))


READS = ("says Error fetching next iteration element", "calls zend_user_it_invalidate_current", "has 0x5bd1e995")


def test_functions_without_a_name_are_one_in_two_builds_where_their_code_refers_to_the_same() -> None:
    other: dict[str, str | None] = {EXT: "dd" * 20}
    old = native("sub_7777", EXT, at=0x7000)._replace(traits=(*READS, "calls _emalloc_56", "calls __stack_chk_fail"))
    new = native("sub_9999", EXT, at=0x9000)._replace(traits=(*READS, "calls _emalloc"))
    strange = new._replace(traits=("says no such column", "calls zend_sort", "uses zend_ce_countable"))
    assert compared((old, A), (new, A), other) == pytest.approx(1.0)
    assert compared((old, A), (strange, A), other) < weights().join
    # So are one with symbols and one without.
    assert compared((new._replace(function="fetch_next"), A), (old, A), other) == pytest.approx(1.0)


def test_what_two_functions_without_a_name_have_in_common_is_said_in_words() -> None:
    steps = [
        read(thread(native(name, EXT, at=at)._replace(traits=READS), php("f")), builds).steps
        for name, at, builds in (("sub_7777", 0x7000, BUILDS), ("sub_9999", 0x9000, {EXT: "dd" * 20}))
    ]
    row = compare(Profile(steps=steps[0]), Profile(steps=steps[1])).rows[0]
    assert (row.a, row.b, row.verdict, row.why) == (
        "redis.so!sub_7777",
        "redis.so!sub_9999",
        "match",
        "a function without a name that calls zend_user_it_invalidate_current and has 0x5bd1e995",
    )


def test_a_place_behind_a_call_that_never_returns_is_no_proof() -> None:
    """The return address of the last call of one function is the first instruction of the next."""
    before = native("spill", EXT, at=0x100)._replace(start=0xC0)
    after = native("privileged", EXT, at=0x100)._replace(start=0x100)
    assert compared((before, A), (after, A)) < weights().join
    unnamed = [frame._replace(function=f"sub_{frame.start:x}") for frame in (before, after)]
    assert compared((unnamed[0], A), (unnamed[1], A)) < weights().join
    assert compared((unnamed[0], A), (before, A)) == 1.0


def test_a_function_that_its_own_words_give_away_has_its_name() -> None:
    frames = (native("sub_108a37", PHP), native("sub_109384", PHP), A)
    told = (frames[0], frames[1]._replace(traits=("says zend_mm_heap corrupted",)), A)
    assert [step.name for step in read(thread(*told), BUILDS).steps] == ["alpha"]
    assert len(read(thread(*frames), BUILDS).steps) == 3


def test_the_signal_tells_crashes_apart() -> None:
    one, other = (Profile(steps=read(thread(A), BUILDS).steps, signal=name) for name in ("SIGSEGV", "SIGILL"))
    assert compare(one, other).score < compare(one, one).score == 1.0


def profile(*frames: Frame, build: str = "aa", fault: Fault | None = None) -> Profile:
    """What is compared of a crash of PHP in one of two builds."""
    shape = read(thread(*frames), BUILDS if build == "aa" else OTHERS)
    return Profile(steps=shape.steps, heap=shape.heap, opaque=shape.opaque, signal="SIGSEGV",
                   fault=access(fault), reach=reach(fault), build=build)  # fmt: skip


def missed(displacement: int, base: int = 0x100000001000, size: int = 8) -> Fault:
    """A read behind a pointer."""
    at = (base + displacement) % (1 << 64)
    operand = Operand(text=f"[rax + {displacement:#x}]", kind=AccessKind.READ, address=at, size=size, base="rax",
                      base_value=base, displacement=displacement, aligned=False)  # fmt: skip
    return Fault(kind=AccessKind.READ, address=at, operand=operand)


def crash(*frames: Frame, fault: Fault | None = None) -> Crash:
    """A whole record."""
    modules = tuple(Module(path=path, build_id=build, start=0, end=1, symbols=Symbols.NONE)
                    for path, build in BUILDS.items())  # fmt: skip
    return Crash(id="c", core="core", status=Status.OK, time=None, host=None, pid=1, executable=PHP,
                 build_id=BUILDS[PHP], arguments=(), signal=SEGV, runtime=None, threads=(thread(*frames),),
                 modules=modules, fault=fault)  # fmt: skip


SHARED = (native("zendi_smart_strcmp"), native("compare_function"), native("zend_hash_minmax"))


def test_another_built_in_function_with_the_same_insides_is_another_crash() -> None:
    least, most = ((*SHARED, builtin(name), php("page")) for name in ("min", "max"))
    assert not compare(profile(*least), profile(*most)).is_same(weights())
    keys = [{found.key, *found.aliases} for found in (sign("c", SEGV, thread(*f), BUILDS) for f in (least, most))]
    assert keys[0] & keys[1] == set()
    # Script code is called otherwise everywhere: there the insides tell.
    here, there = ((*SHARED, php(name)) for name in ("basket", "order"))
    shared = [{found.key, *found.aliases} for found in (sign("c", SEGV, thread(*f), BUILDS) for f in (here, there))]
    assert (
        "v3:SIGSEGV:native|php!zendi_smart_strcmp|php!compare_function|php!zend_hash_minmax" in shared[0] & shared[1]
    )


def test_in_the_allocator_another_built_in_function_says_little() -> None:
    def rows(*inside: Frame) -> list[Row]:
        one, other = (profile(*inside, builtin(name), php("page")) for name in ("implode", "sort"))
        return [row for row in compare(one, other).rows if row.a == "implode()"]

    (anywhere,), (told,) = rows(native("_emalloc_56"), A), rows(A)
    assert (anywhere.b, anywhere.verdict, told.verdict) == ("sort()", "different", "different")
    assert anywhere.weight == pytest.approx(told.weight * weights().depths)
    assert weights().depths < 1


def test_a_built_in_function_is_the_same_fact_however_many_functions_it_is_made_of() -> None:
    deep = [native(f"step{at}") for at in range(12)]
    assert [step.name for step in profile(*deep[:4], builtin("rsort"), php("page")).steps][-2:] == ["rsort", "page"]
    one, other = (compare(profile(*inside, builtin("rsort")), profile(*inside, builtin("rsort")))
                  for inside in (deep[:1], deep[:5]))  # fmt: skip
    assert next(row.weight for row in one.rows if row.a == "rsort()") == next(
        row.weight for row in other.rows if row.a == "rsort()"
    )


def test_the_door_is_compared_however_far_out_it_is() -> None:
    frames = (*(native(f"step{at}") for at in range(12)), builtin("rsort"), php("page"))
    found = profile_of(crash(*frames))
    assert [step.name for step in found.steps] == [*(f"step{at}" for at in range(8)), "rsort"]
    assert found.door == found.steps[-1]
    assert "d:rsort at work" in list(tokens(found))


@pytest.mark.parametrize(
    ("fault", "kind", "far"),
    [
        (missed(0x18), "read wild", "18/8"),
        (missed(-8), "read wild", "-8/8"),
        (missed(0x18, base=0), "read null", "18/8"),
        (missed(-8, base=0), "read null", "-8/8"),
        (missed(0x10, base=0x20, size=1), "read null", "30/1"),
        (Fault(kind=AccessKind.EXECUTE, address=0x10), "execute", None),
        (Fault(kind=AccessKind.WRITE, address=0x10), "write null", None),
        (None, None, None),
    ],
)
def test_what_could_not_be_had(fault: Fault | None, kind: str | None, far: str | None) -> None:
    assert (access(fault), reach(fault)) == (kind, far)


def test_the_member_that_could_not_be_had_tells_places_of_one_function_apart() -> None:
    def row(one: Fault, other: Fault, build: str = "aa") -> Row:
        pair = profile(A, fault=one), profile(A, fault=other, build=build)
        return next(row for row in compare(*pair).rows if (row.a or "").endswith(("+0x18", "+0x188")))

    assert row(missed(0x18), missed(0x18)) == Row(
        "8 bytes at +0x18", "8 bytes at +0x18", "match", weights().reach, "how far behind the pointer it reached"
    )
    assert row(missed(0x18), missed(0x10), "dd").verdict == "different"
    assert row(missed(0x18), missed(0x18, size=1)).b == "1 byte at +0x18"
    # A large structure has its members somewhere else in another version: that cannot be told.
    assert row(missed(0x188), missed(0x1A0), "dd").verdict == "unknown"
    assert row(missed(0x188), missed(0x1A0)).verdict == "different"


def test_how_the_systems_functions_reach_for_memory_says_nothing() -> None:
    def reached(*frames: Frame) -> str | None:
        return profile_of(crash(*frames, fault=missed(0x18))).reach

    assert reached(A, php("f")) == "18/8"
    assert reached(native("strlen", LIBC), A, php("f")) is None
    assert reached(native("sub_77", LIBC), A, php("f")) is None


def test_in_another_build_a_frame_that_only_one_has_counts_less() -> None:
    whole, less = (A, B, C), (A, C)
    assert compare(profile(*whole), profile(*less, build="dd")).score > compare(profile(*whole), profile(*less)).score


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ZEND_DO_ICALL", "ZEND_DO_FCALL_BY_NAME", True),
        ("ZEND_DO_UCALL", "ZEND_FRAMELESS_ICALL_2", True),
        ("ZEND_POST_DEC_OBJ", "ZEND_PRE_INC_OBJ", True),
        ("ZEND_CASE", "ZEND_IS_EQUAL", True),
        ("ZEND_FETCH_OBJ_R", "ZEND_FETCH_OBJ_FUNC_ARG", True),
        ("ZEND_FETCH_OBJ_R", "ZEND_FETCH_OBJ_W", False),
        ("ZEND_POST_DEC", "ZEND_POST_DEC_OBJ", False),
        ("ZEND_ADD", "ZEND_SUB", False),
    ],
)
def test_instructions_that_are_one(one: str, other: str, same: bool) -> None:
    found = compare(profile(php("f", opcode=one)), profile(php("f", opcode=other)))
    assert [row.verdict for row in found.rows if row.a == one] == ["match" if same else "different"]


def test_the_interpreters_code_for_an_instruction_is_told_by_the_instruction() -> None:
    def died(name: str, opcode: str, build: str = "aa") -> Profile:
        return profile(native(name, at=int(name[4:], 16)), php("f", opcode=opcode), build=build, fault=missed(8))

    ours, theirs = died("sub_1000", "ZEND_ADD"), died("sub_2000", "ZEND_ADD", build="dd")
    assert compare(ours, theirs).rows[0].why == "the interpreter's code for an instruction, see there"
    assert compare(ours, theirs).is_same(weights())
    assert not compare(ours, died("sub_2000", "ZEND_CONCAT", build="dd")).is_same(weights())


def test_what_the_jit_compiler_does_while_it_takes_notes_is_left_out() -> None:
    opcache = "/usr/lib/php/20220829/opcache.so"
    builds = {**BUILDS, opcache: "ee" * 20}
    notes = [native("sub_500", opcache),
             native("sub_900", opcache)._replace(traits=("says ---- TRACE %d abort (%s)\n",))]  # fmt: skip
    frames = (A, *notes, builtin("sort"), php("f"))
    assert [step.name for step in read(thread(*frames), builds).steps] == ["alpha", "sort", "f"]
    # What the compiler itself died of is not.
    assert len(read(thread(notes[0], A), builds).steps) == 2


def test_names_that_another_version_calls_otherwise() -> None:
    for old, new in (("php_string_tolower", "zend_string_tolower_ex"),
                     ("_zend_hash_find_known_hash", "zend_hash_find_known_hash"),
                     ("instanceof_function", "instanceof_function_slow"),
                     ("_call_user_function_ex", "_call_user_function_impl"),
                     ("zend_wrong_parameter_class_error", "zend_wrong_parameter_error"),
                     ("zend_unregister_ini_entries", "zend_unregister_ini_entries_ex"),
                     ("zend_zval_type_name", "zend_zval_value_name")):  # fmt: skip
        assert compare(profile(native(old), php("f")), profile(native(new), php("f"), build="dd")).score == 1.0


def test_a_built_in_function_that_died_in_its_own_code_is_told_by_what_it_could_not_have() -> None:
    def key(fault: Fault | None, *frames: Frame) -> str:
        return sign("c", SEGV, thread(*frames), BUILDS, fault=fault).key

    sort = (native("zif_sort"), builtin("sort"), php("f"))
    assert key(missed(0x18), *sort) == "v3:SIGSEGV:php:sort@read wild 18/8"
    assert key(None, *sort) == "v3:SIGSEGV:php:sort"
    assert key(missed(8), php("f", opcode="ZEND_POST_INC")) == "v3:SIGSEGV:php:f#ZEND_PRE_INC@read wild 8/8"
    assert key(missed(8), native("zend_sort"), *sort) == "v3:SIGSEGV:php!zend_sort|php:sort"


def test_a_recursion_is_entered_by_the_innermost_built_in_function_only() -> None:
    def entry(*outside: Frame) -> str | None:
        return read(thread(*[native("walk")] * 100, *outside), BUILDS, overflow=True).entry

    assert entry(builtin("serialize"), php("f")) == "serialize"
    assert entry(php("f"), builtin("array_map"), php("page")) is None
    # Where the script did it by itself, its instruction tells, by its family.
    assert entry(php("f", opcode="ZEND_CASE"), builtin("array_map"), php("page")) == "ZEND_IS_EQUAL"


def recursion(*cycle: Frame, build: str = "aa", outside: tuple[Frame, ...] = ()) -> Profile:
    """What is compared of a crash of which the stack was exhausted."""
    builds = BUILDS if build == "aa" else OTHERS
    shape = read(thread(*cycle * 100, *outside), builds, overflow=True)
    return Profile(steps=shape.steps, overflow=True, entry=shape.entry, signal="SIGSEGV", build=build)


def test_what_began_a_recursion_tells_recursions_apart() -> None:
    def begun(opcode: str, *cycle: Frame, build: str = "aa") -> Profile:
        return recursion(*cycle, build=build, outside=(php("f", opcode=opcode),))

    equal, identical = (begun(opcode, native("walk")) for opcode in ("ZEND_IS_EQUAL", "ZEND_IS_IDENTICAL"))
    assert compare(equal, identical).rows[-1] == Row(
        "ZEND_IS_EQUAL", "ZEND_IS_IDENTICAL", "different", weights().opcode, "what the script was doing"
    )
    assert not compare(equal, identical).is_same(weights())
    assert compare(equal, begun("ZEND_CASE", native("walk"))).score == 1.0
    # Any instruction may be the one that destroys the last of a value.
    freed, left = (begun(opcode, native("zend_array_destroy")) for opcode in ("ZEND_UNSET_CV", "ZEND_RETURN"))
    assert [row.verdict for row in compare(freed, left).rows] == ["match", "unknown"]


def test_a_method_that_the_engine_calls_recurs_alike_in_another_program() -> None:
    def getter(owner: str, method: str = "__get", build: str = "aa") -> Profile:
        return recursion(native("zend_std_read_property"), php(method, owner), build=build)

    found = compare(getter("Row"), getter("Order", build="dd"))
    assert found.rows[0] == Row("Row::__get()", "Order::__get()", "match", 2 * (1 - weights().owner),
                                "__get() of another class, which the engine calls")  # fmt: skip
    assert found.is_same(weights())
    # Within one build that is one program, which has two such methods.
    assert not compare(getter("Row"), getter("Order")).is_same(weights())
    assert not compare(getter("Row"), getter("Row", "__set", build="dd")).is_same(weights())
    assert not compare(getter("Row", "price"), getter("Order", "price", build="dd")).is_same(weights())


def test_functions_of_recursions_that_refer_to_nothing_in_common_are_two() -> None:
    strange = ("says no such column", "calls zend_sort", "uses zend_ce_countable")
    one = recursion(native("sub_7777", at=0x7000)._replace(traits=READS), outside=(php("f", opcode="ZEND_CAST"),))
    other, like = (
        recursion(native("sub_9999", at=0x9000)._replace(traits=traits), build="dd",
                  outside=(php("f", opcode="ZEND_CAST"),))
        for traits in (strange, READS)
    )  # fmt: skip
    assert not compare(one, other).is_same(weights())
    assert compare(one, like).score == 1.0


def test_a_function_that_the_other_build_calls_as_well_may_be_inlined_there() -> None:
    calls = ("says rank", "calls fetch", "calls zval_get_long_func")
    rank = native("sub_500", at=0x500)._replace(traits=calls)
    inlined = profile(rank._replace(function="sub_700"), php("f"), build="dd")
    row = compare(profile(native("fetch"), rank, php("f")), inlined).rows[0]
    assert (row.a, row.b, row.verdict, row.why) == (
        "fetch", None, "unknown", "the other build's code calls it as well, and may have it inlined",
    )  # fmt: skip
    assert compare(profile(native("search"), rank, php("f")), inlined).rows[0].verdict == "gap"
    assert compare(profile(native("fetch"), rank, php("f")), replace(inlined, build="aa")).rows[0].verdict == "gap"
    # So in a recursion.
    deep, flat = recursion(native("fetch"), rank), recursion(rank._replace(function="sub_700"), build="dd")
    assert [row.verdict for row in compare(deep, flat).rows] == ["match", "unknown"]


def test_a_function_whose_words_another_has_too_is_not_held_to_be_another() -> None:
    inner = ("calls zend_fetch_class", "calls zend_objects_new")
    more = (*READS, "says no such column", "says no such table", "calls zend_sort", "uses zend_ce_countable")
    small = profile(native("sub_500", at=0x500)._replace(traits=normal(inner)), php("f"))

    def verdicts(*traits: str) -> list[str]:
        large = profile(native("sub_900", at=0x900)._replace(traits=normal(traits)), php("f"), build="dd")
        return [row.verdict for row in compare(small, large).rows[:2]]

    assert verdicts(*more) == ["unknown", "different"]
    assert verdicts(*more, *more[:1], *inner) == ["unknown", "match"]
