"""Names brought to one form, and the key under which equal crashes meet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.unit.stacks import BUILDS, ENTRY, EXT, LIBC, SEGV, builtin, native, php, thread
from triage import lists
from triage.cluster import shape
from triage.cluster.normalize import function_name, module_name, words
from triage.cluster.shape import script_name
from triage.cluster.signature import rules, sign
from triage.model import Frame, Signal, Signature, Thread


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("zend_hash_find", "zend_hash_find"),
        ("zend_hash_find.cold", "zend_hash_find"),
        ("foo.part.0", "foo"),
        ("foo.constprop.0.isra.0", "foo"),
        ("foo.isra.12.cold", "foo"),
        ("foo.lto_priv.3", "foo"),
        ("foo.llvm.1234567890123", "foo"),
        ("foo.localalias", "foo"),
        ("memcpy@plt", "memcpy"),
        ("memcpy@@GLIBC_2.14", "memcpy"),
        ("memcpy@GLIBC_2.2.5", "memcpy"),
        ("__memcpy_avx_unaligned_erms", "memcpy"),
        ("__memcpy_avx512_no_vzeroupper", "memcpy"),
        ("__memcpy_sse2_unaligned", "memcpy"),
        ("__memcpy_ssse3_back", "memcpy"),
        ("__memcpy_generic", "memcpy"),
        ("__memmove_evex_unaligned_erms", "memmove"),
        ("__memset_avx2_unaligned_erms", "memset"),
        ("__wmemset_avx2_unaligned", "wmemset"),
        ("__strlen_avx2", "strlen"),
        ("__strcmp_sse42", "strcmp"),
        ("__memcpy_sve", "memcpy"),
        ("__GI_raise", "raise"),
        ("__GI___pthread_kill", "pthread_kill"),
        ("php_pcre_exec_generic", "php_pcre_exec_generic"),
        ("my_avx2", "my_avx2"),
        ("__libc_start_main", "__libc_start_main"),
        ("sub_1a2b", "sub_1a2b"),
        ("std::vector<int, std::allocator<int> >::push_back(int&&)", "std::vector<>::push_back"),
        ("std::__cxx11::basic_string<char>::append(char const*, unsigned long)", "std::basic_string<>::append"),
        ("(anonymous namespace)::parse(int) [clone .cold]", "parse"),
        ("shop::Basket::operator<(shop::Basket const&) const", "shop::Basket::operator<"),
        ("shop::Basket::operator()(int)", "shop::Basket::operator()"),
        ("main::{lambda(int)#2}::operator()(int) const", "main::{lambda}::operator()"),
        ("shop::total::$_3::operator()(int) const", "shop::total::$::operator()"),
        ("core::panicking::panic_fmt::h0123456789abcdef", "core::panicking::panic_fmt"),
        ("<alloc::vec::Vec<T> as core::ops::drop::Drop>::drop", "<>::drop"),
        ("__GI___fortify_fail", "fortify_fail"),
        ("zend_jit_helper.warm.3", "zend_jit_helper"),
    ],
)
def test_function_name(name: str, plain: str) -> None:
    assert function_name(name) == plain
    assert function_name(plain) == plain  # once is enough


def test_rawmemchr_is_a_processor_variant_too() -> None:
    assert function_name("__rawmemchr_avx2") == "rawmemchr"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/usr/lib/libffi.so.8.1.2", "libffi.so"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "libc.so"),
        ("/usr/lib/php/20220829/redis.so", "redis.so"),
        ("/usr/bin/php8.2", "php"),
        ("/usr/sbin/php-fpm7.4", "php"),
        ("/usr/lib/apache2/modules/libphp8.2.so", "php"),
        ("/usr/bin/python3.11", "python"),
        ("/usr/bin/phpize8.2", "phpize8.2"),
        ("[vdso]", "[vdso]"),
        ("", ""),
    ],
)
def test_module_name(path: str, name: str) -> None:
    assert module_name(path) == name


def test_lists_match_whole_names_only() -> None:
    machinery, abort = words("machinery.txt"), words("abort.txt")
    inside = ["_start", "main", "execute_ex", "clone", "clone3", "zend_call_function", "php_execute_script_ex",
              "zend_user_it_get_new_iterator", "zend_call_known_instance_method_with_1_params"]  # fmt: skip
    outside = ["domain", "main_loop", "execute_expression", "zend_call_functionx", "sub_1", "", "#", "|"]
    assert [name for name in inside if name not in machinery] == []
    assert [name for name in outside if name in machinery] == []
    assert [name for name in ("abort", "raise", "__assert_fail", "malloc_printerr", "std::terminate")
            if name not in abort] == []  # fmt: skip
    assert [name for name in ("aborted", "raise_error", "killall") if name in abort] == []


def key(*frames: Frame, crash: str = "c1", signal: Signal | None = SEGV, overflow: bool = False) -> str:
    return sign(crash, signal, thread(*frames), BUILDS, overflow=overflow).key


def test_a_whole_signature() -> None:
    frames = [native("__memcpy_avx_unaligned_erms", LIBC), native("redis_read.constprop.0", EXT), native(None, EXT),
              php("get", "Redis"), php("total", "Shop\\Cart"), php("{main}"), *ENTRY]  # fmt: skip
    assert sign("c1", SEGV, thread(*frames), BUILDS) == Signature(
        key="v3:SIGSEGV:libc.so!memcpy|redis.so!redis_read|php:Redis::get",
        title="memcpy ◂ Redis::get()",
        steps=(
            "kept __memcpy_avx_unaligned_erms: does what it is told: its caller counts as well",
            "kept redis_read.constprop.0: tells where it died",
            "left out unnamed frame: it has no name, so it cannot make two crashes equal",
            *(f"left out {frame.function}: machinery that is on every stack" for frame in ENTRY),
        ),
        aliases=("v3:SIGSEGV:at|bbbbbbbbbbbb+1000|cccccccccccc+1000|cccccccccccc+1000",),
    )


class Watched:
    """A frame that notes what is asked of it."""

    def __init__(self, frame: Frame, asked: set[str]) -> None:
        self._frame, self._asked = frame, asked

    def __getattr__(self, name: str) -> object:
        self._asked.add(name)
        return getattr(self._frame, name)


@pytest.mark.parametrize("overflow", [False, True])
def test_a_shape_hangs_on_nothing_that_is_not_in_the_key_it_is_kept_under(overflow: bool) -> None:
    abort = [native("raise", LIBC), native("abort", LIBC), native("malloc_printerr", LIBC), native("_int_free", LIBC)]
    frames = [*abort, native("redis_read", EXT), native(None, EXT), php("get", "Redis"), php("get", "Redis"), *ENTRY]
    asked: set[str] = set()
    watched = [Watched(frame, asked) for frame in frames]
    found = shape._read(cast(list[Frame], watched), BUILDS, overflow=overflow)
    assert found == shape.read(thread(*frames), BUILDS, overflow=overflow)
    assert asked
    assert asked <= set(shape.LOOKED_AT)


def test_machinery_and_the_way_of_ending_are_left_out() -> None:
    abort = [native("__pthread_kill_implementation", LIBC), native("raise", LIBC), native("abort", LIBC),
             native("__libc_message", LIBC), native("malloc_printerr", LIBC)]  # fmt: skip
    frames = [*abort, native("_int_free", LIBC), native("zend_call_function"), php("f"), *ENTRY]
    found = sign("c1", Signal(number=6, name="SIGABRT"), thread(*frames), BUILDS)
    assert (found.key, found.title) == ("v3:SIGABRT:allocator|php:f", "_int_free ◂ f()")
    assert found.markers == ("heap:_int_free",)
    assert found.steps == (
        *(f"left out {frame.function}: the way a program ends itself, not the reason" for frame in abort),
        "left out _int_free: giving and taking memory: kept apart, as the place of death and not the reason",
        "left out zend_call_function: machinery that is on every stack",
        *(f"left out {frame.function}: machinery that is on every stack" for frame in ENTRY),
    )


def test_the_cxx_way_of_ending_is_left_out_as_gdb_names_it() -> None:
    frames = [native("abort", LIBC), native("__gnu_cxx::__verbose_terminate_handler()", "/usr/lib/libstdc++.so.6"),
              native("__cxxabiv2::__terminate(void (*)())", "/usr/lib/libstdc++.so.6"),
              native("std::terminate()", "/usr/lib/libstdc++.so.6"), native("parse", EXT)]  # fmt: skip
    assert key(*frames) == "v3:SIGSEGV:redis.so!parse"


def test_at_most_five_native_frames_and_the_innermost_script_frame() -> None:
    frames = [native(f"f{at}") for at in range(8)]
    expected = "v3:SIGSEGV:php!f0|php!f1|php!f2|php!f3|php!f4|php:inner"
    assert key(*frames, php("inner"), native("never"), php("outer")) == expected


def test_file_code_is_told_apart_by_its_file() -> None:
    def file(name: str, path: str) -> str:
        return key(php(name, file=path), *ENTRY)

    assert file("{main}", "/srv/a/index.php") == "v3:SIGSEGV:php:{main}@index.php"
    assert file("{main}", "/elsewhere/index.php") == "v3:SIGSEGV:php:{main}@index.php"
    assert file("include", "/srv/b.php") == "v3:SIGSEGV:php:include@b.php"
    assert key(php("f", file="/srv/a.php")) == key(php("f", file="/srv/b.php")) == "v3:SIGSEGV:php:f"
    assert sign("c", SEGV, thread(php("{main}", file="/srv/a.php")), {}).title == "SIGSEGV in {main} in a.php"


def test_other_signals_and_functions_and_modules_are_other_crashes() -> None:
    keys = [
        key(native("f"), php("g")),
        key(native("f"), php("g"), signal=replace(SEGV, name="SIGBUS")),
        key(native("f"), php("g"), signal=None),
        key(native("f2"), php("g")),
        key(native("f", EXT), php("g")),
        key(native("f"), php("g2")),
        key(native("f"), php("g", "C")),
        key(native("f")),
        key(php("g")),
    ]
    assert len(set(keys)) == len(keys)


def test_addresses_ids_and_versions_of_libraries_do_not_count() -> None:
    one = [native("f", at=0x55D0_0000_1000), native("g", "/usr/lib/libx.so.1.2.3"), php("h"), *ENTRY]
    two = [native("f", at=0x5600_0000_2000), native("g", "/opt/lib/libx.so.1.4"), php("h")._replace(line=99)]
    signal = replace(SEGV, address=0x1234, code=2, code_name="SEGV_ACCERR", sender=None)
    other = Thread(id=99, name="worker", crashed=True, depth=9, truncated=True, frames=tuple(two))
    assert sign("c2", signal, other, {}).key == key(*one, crash="c1")


def test_generated_names_count_within_one_build_only() -> None:
    frames = [native("sub_1a2b", EXT), php("f")]
    assert key(*frames) == "v3:SIGSEGV:redis.so!sub_1a2b@cccccccccccc|php:f"
    other = sign("c1", SEGV, thread(*frames), {EXT: "dd" * 20})
    assert (other.key, other.title) == ("v3:SIGSEGV:redis.so!sub_1a2b@dddddddddddd|php:f", "redis.so!sub_1a2b ◂ f()")
    assert key(native("sub_1a2c", EXT), php("f")) != key(*frames)
    assert key(native("sub_name", EXT)) == "v3:SIGSEGV:redis.so!sub_name"


def test_generated_names_without_a_build_id_are_never_equal() -> None:
    crashes = [sign(crash, SEGV, thread(native("sub_1a2b", EXT)), {EXT: None}).key for crash in ("c1", "c2")]
    assert crashes[0] != crashes[1]


NAMELESS: list[tuple[Frame, ...]] = [
    (),
    (native(None),),
    (native(None), native(None, EXT)),
    (native("f", None),),
    (native(None), *ENTRY),
    (Frame(kind="gap", note="5 native frames in between are not shown"),),
    (native("handler")._replace(note="signal handler"),),
]


@pytest.mark.parametrize("frames", NAMELESS, ids=range(len(NAMELESS)))
def test_what_nobody_can_name_is_never_equal(frames: tuple[Frame, ...]) -> None:
    one, two = (sign(crash, SEGV, thread(*frames), BUILDS) for crash in ("c1", "c2"))
    assert (one.key, two.key) == ("v3:SIGSEGV:unknown:c1", "v3:SIGSEGV:unknown:c2")
    assert one.title == "SIGSEGV at an unknown place"
    assert one.steps[-1] == "no frame has a name: the key is this crash's own"


def test_without_a_thread_or_a_signal() -> None:
    assert sign("c1", None, None, {}) == Signature(
        key="v3:no signal:unknown:c1",
        title="no signal at an unknown place",
        steps=("no frame has a name: the key is this crash's own",),
    )


def test_an_unreadable_script_frame_is_no_name() -> None:
    frames = (native(None), php(None, file=None))
    assert key(*frames, crash="c1") != key(*frames, crash="c2")


def test_an_overflow_nobody_can_name_is_never_equal() -> None:
    frames = [native(None)] * 300
    assert key(*frames, crash="c1", overflow=True) != key(*frames, crash="c2", overflow=True)


@pytest.mark.parametrize("cycle", [1, 2, 3, 4])
def test_the_depth_of_a_recursion_does_not_count(cycle: int) -> None:
    loop = [native(f"walk{at}") for at in range(cycle)]

    def deep(times: int) -> str:
        return key(native("leaf"), *loop * times, native("start"), php("f"), *ENTRY)

    assert deep(3) == deep(300) == deep(2)
    assert ("start" in deep(3)) == (cycle < 4)  # five frames are kept


def test_a_recursion_with_frames_left_out_is_the_same() -> None:
    gap = Frame(kind="gap", note="9000 native frames in between are not shown")
    walk, start = native("walk"), native("start")
    assert key(*[walk] * 256, gap, *[walk] * 60, start, php("f")) == key(*[walk] * 3, start, php("f"))


def overflow(*frames: Frame, crash: str = "c1", builds: dict[str, str | None] | None = None) -> Signature:
    return sign(crash, SEGV, thread(*frames), BUILDS if builds is None else builds, overflow=True)


def test_a_script_overflow_whole() -> None:
    frames = [php("visit", "Tree"), native("execute_ex"), php("walk", "Tree"), native("execute_ex")] * 200
    assert overflow(native("leaf"), *frames) == Signature(
        key="v3:SIGSEGV:stack-overflow|php:Tree::visit|php:Tree::walk",
        title="stack overflow ◂ Tree::visit ⇄ Tree::walk",
        steps=("the stack was exhausted: the functions that call each other are the key",),
        markers=("stack-overflow",),
    )
    many = [php(name) for name in "abcd"] * 100
    assert overflow(*many).title == "stack overflow ◂ a ⇄ b and 2 more"


def test_an_overflow_is_the_same_wherever_in_the_cycle_the_stack_ran_out() -> None:
    cycle = [
        php("a"),
        native("execute_ex"),
        native("zif_array_map"),
        php("array_map"),
        php("b"),
        native("execute_ex"),
    ]
    keys = {overflow(*(cycle * depth)[start:]).key for depth in (40, 41, 5000) for start in range(len(cycle))}
    assert keys == {"v3:SIGSEGV:stack-overflow|php:a|php:array_map|php:b"}


def test_a_native_overflow_is_known_by_its_cycle() -> None:
    cycle = [native("match", "/usr/lib/libpcre2-8.so.0.11"), native("recurse", "/usr/lib/libpcre2-8.so.0.11")]
    found = overflow(*cycle * 300)
    assert found.key == "v3:SIGSEGV:stack-overflow|libpcre2-8.so!match|libpcre2-8.so!recurse"
    assert overflow(*(cycle * 300)[1:]).key == found.key
    assert found.title == "stack overflow in match"


def test_the_leaf_where_the_stack_ran_out_is_chance() -> None:
    cycle = [native("match", EXT), native("recurse", EXT)] * 300
    assert overflow(native("memset", LIBC), *cycle).key == overflow(*cycle).key
    script = [php("walk"), native("execute_ex")] * 300
    assert overflow(php("helper"), native("execute_ex"), *script).key == overflow(*script).key


def test_generated_names_in_an_overflow_count_within_one_build_only() -> None:
    frames = [native("sub_1a2b", EXT)] * 300
    assert overflow(*frames).key != overflow(*frames, builds={EXT: "dd" * 20}).key


def test_long_keys_are_cut_and_stay_distinct() -> None:
    one, two = ("x" * 2000 + end for end in ("1", "2"))
    keys = [key(native(one)), key(native(two)), key(native(one), php("f"))]
    assert len(set(keys)) == 3
    assert {len(found) for found in keys} == {417}
    assert all(found.startswith("v3:SIGSEGV:php!xxxx") and found[400] == "~" for found in keys)
    assert key(native(one)) == keys[0]
    assert len(key(native("y" * 380))) <= 400
    assert len(key(native("\udcff" * 500))) == 417  # bytes that are no text


def test_script_names() -> None:
    assert [script_name(frame) for frame in (php("f"), php("m", "C"), php(None), php(None, "C"), php("{main}"))] == [
        "f",
        "C::m",
        "unreadable frame",
        "C::unreadable frame",
        "{main}",
    ]


@pytest.mark.parametrize(
    ("frames", "title"),
    [
        ((native("memcpy", LIBC), builtin("get", "Redis"), php("total")), "memcpy ◂ Redis::get() ◂ total()"),
        ((native("zif_sort"), builtin("sort"), php("f")), "sort() ◂ f()"),
        ((native("zim_Redis_get", EXT), builtin("get", "Redis"), php("f")), "Redis::get() ◂ f()"),
        ((native("sub_1a2b", EXT), builtin("get", "Redis"), php("f")), "Redis::get() ◂ f()"),
        ((native("strlen", LIBC), builtin("strlen", "FFI"), php("f")), "strlen ◂ f()"),
        ((builtin("sort"), php("{main}", file="/srv/x.php")), "sort() ◂ {main} in x.php"),
        ((native("free", LIBC), php("m", "C"), php("{main}")), "free ◂ C::m()"),
        ((native("free", LIBC), builtin("sort")), "free ◂ sort()"),
        ((php("f"),), "SIGSEGV in f()"),
        ((native("free", LIBC),), "SIGSEGV in free"),
        ((native("sub_1a2b", EXT),), "SIGSEGV in redis.so!sub_1a2b"),
    ],
)
def test_titles(frames: tuple[Frame, ...], title: str) -> None:
    assert sign("c1", SEGV, thread(*frames), BUILDS).title == title


def test_lists_of_the_users_own_add_to_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_own", [])
    before = rules()
    (tmp_path / "machinery.txt").write_text("shop_dispatch | shop_\\d+  # on every stack of ours\n")
    try:
        assert lists.use_folder(tmp_path) is None
        assert [name for name in ("shop_dispatch", "shop_12", "main") if name not in words("machinery.txt")] == []
        assert "shop_x" not in words("machinery.txt")
        assert rules() != before  # stores are brought to the new rules
        (tmp_path / "machinery.txt").write_text("shop_(\n")
        assert "cannot be understood" in (lists.use_folder(tmp_path) or "")
    finally:
        lists.use_folder(tmp_path / "none")
    assert "shop_dispatch" not in words("machinery.txt")
    assert rules() == before
