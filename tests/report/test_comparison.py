"""`triage clusters --explain A B`: each line of a comparison, said in words."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.stacks import BUILDS, OTHERS, builtin, native, php, thread
from triage.cluster.profile import Profile
from triage.cluster.shape import read
from triage.cluster.similarity import compare, weights
from triage.model import Frame
from triage.report.comparison_text import lines

FIXED = replace(weights(), decay=0.5, offset=0.5, built_in=1.5, other=2.0, script=0.2, fault=0.4, reach=0.6,
                commonest=1.0, foreign=0.5, unknown=0.2, first=2.0, outside=0.5, opcode=1.0, helper=0.18,
                join=0.7)  # fmt: skip


def crash(*frames: Frame, build: str, reach: str) -> Profile:
    steps = read(thread(*frames), BUILDS if build == "aa" else OTHERS).steps
    return Profile(steps=steps, signal="SIGSEGV", fault="read wild", reach=reach, build=build)


def told(one: Profile, other: Profile) -> list[str]:
    return list(lines(("aa01", "bb02"), compare(one, other, FIXED), FIXED, together=False, shared=()))


def test_two_built_in_functions_with_the_same_insides() -> None:
    inside = (native("zendi_smart_strcmp"), native("compare_function"))
    least = crash(*inside, builtin("min"), php("basket"), build="aa", reach="10/8")
    most = crash(*inside, native("zend_hash_minmax"), builtin("max"), php("basket"), build="dd", reach="10/8")
    assert told(least, most) == [
        "aa01 and bb02 are apart. (likeness 0.67; 0.70 is needed to call two crashes the same)",
        "",
        "  counts  aa01                                 bb02",
        "    2.00  zendi_smart_strcmp                 = zendi_smart_strcmp                  the same",
        "    1.21  compare_function                   = compare_function                    the same",
        "    0.18  —                                    zend_hash_minmax                    only one of them has it",
        "    2.00  min()                              ≠ max()                               "
        "not the same: the built-in function at work",
        "    0.20  basket()                           = basket()                            the same",
        "    0.40  read wild                          = read wild                           the same",
        "    0.60  8 bytes at +0x10                   = 8 bytes at +0x10                    "
        "the same: how far behind the pointer it reached",
        "",
        "  4.41 for, 2.18 against, 0.00 unknown (counted at 20%): 0.67",
        "  Frames count the more, the nearer they are to the crash and the fewer bugs have them on their stacks.",
    ]


def test_one_instruction_in_two_versions() -> None:
    old = crash(native("sub_1000"), php("page", opcode="ZEND_POST_INC_OBJ"), build="aa", reach="58/8")
    new = crash(native("sub_2000"), php("view", opcode="ZEND_PRE_INC_OBJ"), build="dd", reach="48/8")
    assert told(old, new)[3:] == [
        "    0.36  php!sub_1000                       = php!sub_2000                        "
        "the same: the interpreter's code for an instruction, see there",
        "    0.20  page()                             ≠ view()                              not the same",
        "    1.00  ZEND_POST_INC_OBJ                  = ZEND_PRE_INC_OBJ                    "
        "the same: what the script was doing",
        "    0.40  read wild                          = read wild                           the same",
        "    0.60  8 bytes at +0x58                   ? 8 bytes at +0x48                    "
        "cannot be told: another version has this member somewhere else",
        "",
        "  1.76 for, 0.20 against, 0.60 unknown (counted at 20%): 0.85",
        "  Frames count the more, the nearer they are to the crash and the fewer bugs have them on their stacks.",
    ]
