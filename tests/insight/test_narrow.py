"""Delta debugging, the place in a core's notes, and narrowing of a real crash."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.guarded import ROOT
from triage.errors import UsageError
from triage.insight.narrow.ddmin import ddmin, tries
from triage.insight.narrow.items import Item, from_crash, from_files, merged, parse
from triage.insight.narrow.oracle import Oracle, Place
from triage.insight.narrow.script import reduce
from triage.insight.narrow.session import Budget, NoCrash, OutOfBudget, Session
from triage.insight.narrow.values import boundaries, number
from triage.insight.sandbox import Ran, Sandbox, own_user, run
from triage.model import Runtime

PHP = shutil.which("php")
needs_php = pytest.mark.skipif(PHP is None, reason="needs php")
HERE = Place(11, "php8.2", 0x1234)
ELSEWHERE = Place(6, "libc.so.6", 0x99)


def test_ddmin_finds_every_subset_of_up_to_three_exactly() -> None:
    rng = random.Random(1)
    for size in (0, 1, 2, 3):
        for _ in range(20):
            needed = set(rng.sample(range(40), size))
            assert set(ddmin(range(40), lambda kept, needed=needed: needed <= set(kept))) == needed  # type: ignore[misc]


def test_how_often_to_try() -> None:
    assert (tries(1.0, 0.01), tries(0.2, 0.05), tries(0.2, 0.001)) == (1, 14, 31)


class Fake(Oracle):
    """Crashes as a function says, and counts."""

    def __init__(self, needed: set[str], chance: float = 1.0, other: float = 0.0, seed: int = 0) -> None:
        self.needed, self.chance, self.other = needed, chance, other
        self.rng = random.Random(seed)
        self.runs = 0

    def run(self, argv: Sequence[str]) -> tuple[Ran, Place | None]:
        self.runs += 1
        place = HERE if self.needed <= set(argv) and self.rng.random() < self.chance else None
        if self.rng.random() < self.other:
            place = ELSEWHERE
        return Ran(1, place.signal if place else None, False, "said", 0.0), place


ITEMS = tuple(Item(f"o{at}", "1") for at in range(30))
COMMAND = parse(["php", "-n", "script.php"])


def session(oracle: Fake, state: Path | None = None, budget: Budget | None = None) -> Session:
    return Session(COMMAND, ITEMS, oracle, budget or Budget(runs=20_000), state,
                   same=lambda one, other: one == other, say=lambda text: None)  # fmt: skip


def test_a_crash_that_always_comes_takes_few_runs() -> None:
    oracle = Fake({"o3=1", "o17=1"})

    found = session(oracle).run()

    assert [item.text for item in found.needed] == ["o17=1", "o3=1"]
    assert (found.tries, found.chance, found.place) == (1, 1.0, HERE)
    assert found.runs == oracle.runs < 45


def test_a_rare_crash_with_another_mixed_in_is_exact_nine_times_of_ten() -> None:
    exact = 0
    for seed in range(20):
        found = session(Fake({"o3=1", "o17=1"}, chance=0.2, other=0.05, seed=seed)).run()
        exact += {item.name for item in found.needed} == {"o3", "o17"}
        assert found.others.keys() <= {ELSEWHERE.text}
    assert exact >= 18


def test_a_run_that_was_ended_goes_on_where_it_was(tmp_path: Path) -> None:
    state = tmp_path / "narrow" / "state.json"
    first = Fake({"o3=1", "o17=1"})
    with pytest.raises(OutOfBudget):
        session(first, state, Budget(runs=15)).run()
    second = Fake({"o3=1", "o17=1"})

    found = session(second, state).run()

    assert {item.name for item in found.needed} == {"o3", "o17"}
    assert first.runs + second.runs <= 46
    assert state.stat().st_mode & 0o777 == 0o600


def test_a_damaged_state_is_begun_anew(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text('{"of": 3')

    assert len(session(Fake({"o3=1"}), state).run().needed) == 1


def test_without_a_crash_it_says_what_was_seen() -> None:
    with pytest.raises(NoCrash, match="in 60 runs with all 30 lines it did not crash; the last run said: 'said'"):
        session(Fake({"none"})).run()
    with pytest.raises(NoCrash, match=r"seen: SIGABRT at libc.so.6\+0x99 \(60 times\)"):
        session(Fake({"none"}, other=1.0)).run(wanted=HERE)


def test_command_lines_are_taken_apart() -> None:
    command = parse(["php", "-n", "-d", "a=1", "-db=2", "-dflag", "x.php", "-d", "kept"])

    assert command.items == (Item("a", "1"), Item("b", "2"), Item("flag", "1"))
    assert (command.rest, command.bare) == (("x.php", "-d", "kept"), True)
    assert command.argv([Item("a", "x=y"), Item("extension", "ffi.so")]) == [
        *("php", "-n", "-d", "extension=ffi.so", "-d", 'a="x=y"', "x.php", "-d", "kept")
    ]
    for wrong in ([], ["php"], ["php", "-d", "a=1"]):
        with pytest.raises(UsageError):
            parse(wrong)


def test_later_lines_win_and_extensions_stay_apart() -> None:
    lines = [Item("a", "1"), Item("extension", "x"), Item("a", "2"), Item("extension", "y")]

    assert merged(lines) == (Item("a", "2"), Item("extension", "x"), Item("extension", "y"))


def test_a_crash_gives_its_configuration_but_no_hidden_value() -> None:
    runtime = Runtime(
        name="php", options={"opcache.jit": "tracing", "mysqli.default_pw": "[redacted]"},
        extension_files={"Zend OPcache": "/x/opcache.so", "FFI": "/x/ffi.so"},
    )  # fmt: skip

    items, missing = from_crash(runtime, COMMAND)

    assert [item.text for item in items] == [
        "zend_extension=/x/opcache.so",
        "extension=/x/ffi.so",
        "opcache.jit=tracing",
    ]
    assert missing == ("mysqli.default_pw (its value is hidden)",)


def test_from_which_value_on() -> None:
    needed = [Item("hot", "1"), Item("size", "64M"), Item("opcache.jit", "tracing")]

    def crashes(items: Sequence[Item]) -> bool:
        values = {item.name: item.value for item in items}
        return (
            int(values["hot"]) < 20 and (number(values["size"]) or 0) >= 4096 and values["opcache.jit"] != "disable"
        )

    found = {one.name: one for one in boundaries(needed, {"hot": "127", "size": "0"}.get, crashes)}

    assert (found["hot"].crashing, found["hot"].harmless) == (("19",), ("20",))
    assert 4096 <= int(found["size"].crashing[0]) < 4300
    assert found["opcache.jit"].harmless == ("disable",)


def test_scripts_are_reduced_over_lines_and_blocks() -> None:
    text = (
        "<?php\n$a = 1;\nif ($a) {\n    for (;;) {\n        boom();\n    }\n}\nfunction unused()\n{\n    $b = 2;\n}\n"
    )

    def crashes(code: str) -> bool:
        return "boom();" in code and code.count("{") == code.count("}")

    assert reduce(text, crashes) == "<?php\n        boom();\n"


def test_the_sandbox_limits_time_and_tells_signals(tmp_path: Path) -> None:
    sandbox = Sandbox(seconds=1.0)
    slow = run(["sleep", "30"], tmp_path, {}, sandbox)
    killed = run(["sh", "-c", "kill -6 $$"], tmp_path, {}, sandbox)
    fine = run(["sh", "-c", "echo hello; exit 3"], tmp_path, {}, sandbox)

    assert (slow.late, slow.signal) == (True, None)
    assert slow.seconds < 10
    assert (killed.signal, fine.signal, fine.output) == (6, None, "hello\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_sandbox_has_no_network_and_another_user() -> None:
    code = "import os,socket; print(os.geteuid(), flush=True); socket.create_connection(('127.0.0.1', 9), 2)"

    ran = run(["/usr/bin/python3", "-c", code], Path("/tmp"), {}, Sandbox(user=own_user()))

    assert f"\n{own_user()}\n" in f"\n{ran.output}"
    assert "Network is unreachable" in ran.output


@pytest.mark.php
@needs_php
def test_a_real_crash_from_this_machines_configuration() -> None:
    """FFI is needed and two settings; the rest of php.ini is not."""
    folder = Path("/tmp") / f"triage-narrow-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    script = folder / "crash.php"
    script.write_text(
        '<?php if (get_cfg_var("shop.a") && get_cfg_var("shop.b")) {\n'
        '    FFI::cdef("void *memset(void *s, int c, size_t n);")->memset(FFI::cast("void*", 16), 0, 1);\n}\n'
    )
    script.chmod(0o644)
    settings = [word for name in "abc" for word in ("-d", f"shop.{name}=1")]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "triage", "narrow", "--json", "--fresh", "--no-values", "--", "php", *settings,
             str(script)],
            capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)

    found = json.loads(done.stdout)
    assert found["needed"] == ["extension=ffi.so", "shop.a=1", "shop.b=1"]
    assert found["place"].startswith("SIGSEGV at libc.so.6+0x")
    assert found["items"] > 40
    assert found["runs"] < 60


@needs_php
def test_the_ini_files_of_this_machine_are_read() -> None:
    items = from_files(parse([str(PHP), "-d", "memory_limit=77M", "x.php"]))

    assert Item("memory_limit", "77M") in items
    assert sum(item.name == "memory_limit" for item in items) == 1
    assert any(item.loads for item in items)
