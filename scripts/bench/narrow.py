"""How many runs `triage narrow` takes, and how often it finds the exact set.

    nice .venv/bin/python scripts/bench/narrow.py [--rounds 10]

First a real crash of PHP (GH-17577, its own regression test from Debian's php8.4 source, against the PHP here),
from this machine's whole configuration. Then one that comes in one run of five, needs two of 30 options, and has
another crash mixed in that needs none. Needs php8.2 with opcache and ffi.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.lab import phpt
from triage.insight.narrow.items import Command, Item, from_files, parse
from triage.insight.narrow.oracle import Oracle
from triage.insight.narrow.session import Budget, Narrowed, Session
from triage.insight.sandbox import Sandbox, own_user

BUG = "gh17577"
WANTED = {
    "zend_extension=opcache.so",
    "opcache.enable_cli=1",
    "opcache.jit_buffer_size=64M",
    "opcache.jit_hot_func=1",
}
SETTINGS = ("opcache.enable_cli=1", "opcache.jit=tracing", "opcache.jit_buffer_size=64M", "opcache.jit_hot_func=1")
FLAKY = """<?php
$c = FFI::cdef("void *memset(void *s, int c, size_t n); int raise(int sig);");
if (get_cfg_var("%s") && get_cfg_var("%s") && random_int(1, 100) <= 20) {
    $c->memset(FFI::cast("void*", 16), 0, 1);
}
if (random_int(1, 100) <= 8) {
    $c->raise(11);
}
"""


def narrow(command: Command, items: tuple[Item, ...]) -> tuple[Narrowed, float]:
    """Narrow down without a word, and the seconds it took."""
    begun = time.monotonic()
    with Oracle(Sandbox(user=own_user()), {}) as oracle:
        session = Session(command, items, oracle, Budget(runs=5000), None, same=lambda one, other: one == other,
                          say=lambda text: None)  # fmt: skip
        return session.run(), time.monotonic() - begun


def words(found: Narrowed) -> str:
    """What was found, in a line."""
    return ", ".join(item.text for item in found.needed)


def real(folder: Path) -> bool:
    """The bug of PHP."""
    test = next(test for test in phpt.tests(phpt.source()) if test.name == BUG)
    script = Path(shutil.copy(phpt.command(test)[-1], folder))
    script.chmod(0o644)
    os.utime(script, (1_000_000_000, 1_000_000_000))  # opcache leaves files younger than two seconds alone
    options = [word for setting in SETTINGS for word in ("-d", setting)]
    command = parse([shutil.which("php") or "php", *options, str(script)])
    found, seconds = narrow(command, from_files(command))
    exact = {item.text for item in found.needed} == WANTED
    print(f"{BUG}: {found.items} lines -> {len(found.needed)} in {found.runs} runs, {seconds:.1f} s, "
        f"crashes in {found.chance:.0%} of runs,"
          f" {'exact' if exact else 'WRONG: ' + words(found)}", flush=True)  # fmt: skip
    return exact


def flaky(folder: Path, seed: int) -> bool:
    """The rare one."""
    rng = random.Random(seed)
    names = [f"shop.option{at}" for at in range(30)]
    needed = rng.sample(names, 2)
    script = folder / f"flaky{seed}.php"
    script.write_text(FLAKY % tuple(needed))
    script.chmod(0o644)
    items = (Item("extension", "ffi.so"), *(Item(name, "1") for name in names))
    found, seconds = narrow(Command(shutil.which("php") or "php", (), (str(script),), bare=True), items)
    exact = {item.name for item in found.needed} == {"extension", *needed}
    print(f"flaky {seed}: 30 options -> {len(found.needed) - 1} in {found.runs} runs ({found.tests} tests of up to"
          f" {found.tries}), {seconds:.0f} s, other crashes {sum(found.others.values())}, "
          f"{'exact' if exact else 'WRONG: ' + words(found)}", flush=True)  # fmt: skip
    return exact


def main() -> int:
    """Print it all; 0 when the real one is exact and nine of ten of the rare ones."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=10)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        fine = real(folder)
        exact = sum(flaky(folder, seed) for seed in range(rounds))
    print(f"{exact} of {rounds} exact")
    return 0 if fine and exact >= 0.9 * rounds else 1


if __name__ == "__main__":
    sys.exit(main())
