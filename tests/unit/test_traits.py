"""Functions without a name, told by what their code refers to: in a program made here, and in two real PHPs."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from tests.lab import suites
from triage.cluster.traits import normal, overlap, richness
from triage.symbols.elffile import ElfFile
from triage.symbols.traits import Traits, told

_C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef struct { const char *name; int (*run)(const char *); } step;
int ledger = 3;
static __attribute__((noinline)) int pay(const char *text) { return fprintf(stderr, "cannot pay %s\n", text); }
static __attribute__((noinline)) int ship(const char *text)
{
    char copy[64];
    memcpy(copy, "tracking", 9);
    ledger += (int)strtol(text, NULL, 10) ^ 0x5bd1e995;
    return pay(copy);
}
static step steps[] = {{"payment", pay}, {"shipping", ship}};
int main(int argc, char **argv) { return steps[argc - 1].run(argv[0]) > 7; }
"""


@pytest.fixture(scope="module", params=["-O1", "-O2"])
def program(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ElfFile, dict[str, int]]:
    """The stripped program, and where its functions begin."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    place = tmp_path_factory.mktemp("traits")
    (place / "a.c").write_text(_C)
    flags = ("-fPIE", "-pie", "-rdynamic", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-w")
    subprocess.run(["gcc", request.param, *flags, "-o", str(place / "whole"), str(place / "a.c")], check=True)
    subprocess.run(["strip", "-o", str(place / "bare"), str(place / "whole")], check=True)
    starts = {symbol.name: symbol.address for symbol in ElfFile(place / "whole").symbols.values()}
    return ElfFile(place / "bare"), starts


def test_what_a_function_calls_and_says_and_uses_and_where_it_is_listed(
    program: tuple[ElfFile, dict[str, int]],
) -> None:
    bare, starts = program
    assert set(told(bare, starts["pay"])[1]) == {
        "calls fprintf", "uses stderr", "says cannot pay %s\n", "begins cannot p", "is payment+1",
    }  # fmt: skip
    assert set(told(bare, starts["ship"] + 4)[1]) == {
        "calls strtol", "uses ledger", "begins tracking", "has 0x5bd1e995", "is shipping+1", "calls payment+1",
    }  # fmt: skip


def test_the_start_is_told_and_exported_functions_need_no_traits(program: tuple[ElfFile, dict[str, int]]) -> None:
    bare, starts = program
    assert told(bare, starts["ship"] + 4)[0] == starts["ship"]
    assert told(bare, starts["main"] + 1) == (starts["main"], ())
    assert told(bare, 8) == (None, ())


@pytest.mark.suites
def test_two_versions_of_php_tell_the_same_functions_by_the_same_traits() -> None:
    """Exported functions, whose names tell whether the traits are right, on PHP 7.4 and 8.2."""
    old, new = (_exported(name, program) for name, program in (("bullseye", "php7.4"), ("bookworm", "php8.2")))
    rich = [name for name in sorted(old.keys() & new.keys()) if min(richness(old[name]), richness(new[name])) > 2.0]
    assert len(rich) > 400
    alike = sum(overlap(old[name], new[name])[0] >= 0.35 for name in rich)
    others = random.Random(1).sample(rich, len(rich))
    wrong = sum(overlap(old[a], new[b])[0] >= 0.35 for a, b in zip(rich, others, strict=True) if a != b)
    assert alike / len(rich) > 0.9
    assert wrong / len(rich) < 0.01


def _exported(suite_name: str, program: str) -> dict[str, tuple[str, ...]]:
    suite = next(suite for suite in suites.SUITES if suite.name == suite_name)
    try:
        file = ElfFile(suites.ensure(suite) / "usr" / "bin" / program)
    except suites.CannotMake as reason:
        pytest.skip(str(reason))
    starts, traits = set(file.function_starts()), Traits(file)
    return {s.name: normal(traits.of(s.address)) for s in file.symbols.values() if s.address in starts}
