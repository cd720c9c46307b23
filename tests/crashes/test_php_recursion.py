"""The turns of a recursion that are gone over at once are those that are read call by call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crashes.test_php_sweep import Patient
from triage.corefile import open_core
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash
from triage.runtimes.php import PhpProcess, recursion
from triage.runtimes.php.calls import Call, Calls
from triage.runtimes.php.frames import Walk

pytestmark = [pytest.mark.php]

_DEEP = 9000
_END = "posix_kill(posix_getpid(), 11)"
REGULAR = {
    "one": f"function f($n) {{ $n ? f($n - 1) : {_END}; }} f({_DEEP});",
    "two": f"function a($n) {{ $n ? b($n - 1) : {_END}; }} function b($n) {{ $m = [$n]; a($n); }} a({_DEEP});",
    "lines": f"function f($n) {{\nif (!$n) {_END};\nif ($n % 3 == 0) f($n - 1);\nelse f($n - 1);\n}} f({_DEEP});",
    "method": f"class A {{ function f($n) {{ $n ? $this->f($n - 1) : {_END}; }} }} (new A)->f({_DEEP});",
    "built-in": f"function f($n) {{ return array_map($n ? 'f' : fn() => {_END}, [$n - 1]); }} f({_DEEP // 4});",
}
IRREGULAR = {
    "objects": f"class A {{ function f($n) {{ $n ? (new A)->f($n - 1) : {_END}; }} }} (new A)->f({_DEEP});",
    "stand-in": f"class A {{ function __call($m, $a) {{ $n = $a[0]; $n ? $this->{{'m' . $n}}($n - 1) : {_END}; }} }}"
    f"(new A)->m({_DEEP});",
    "arguments": f"function f($n) {{ $n ? f(...array_fill(0, 1 + $n % 5, $n - 1)) : {_END}; }} f({_DEEP});",
    "delegating": f"function g($n) {{ if ($n) yield from g($n - 1); else yield {_END}; }}"
    f"foreach (g({_DEEP // 4}) as $x);",
    "fiber": f"function f($n) {{ $n ? f($n - 1) : {_END}; }} (new Fiber('f'))->start({_DEEP});",
}


def _core(code: str, folder: Path) -> Path:
    assert find_php() is not None
    options = ("-d", "zend.max_allowed_stack_size=-1", "-d", "memory_limit=-1")
    process = Process(argv=("php", *options, "-r", code), folder=folder, env={}, stack=32 << 20)
    return crash(process, folder / "deep.core")


class Deep(Patient):
    """One core, its stack read in both ways."""

    def process(self) -> PhpProcess:
        return PhpProcess(self.core, self.finder, self.php, script_frames=100_000, values=True)

    def both(self, patch: pytest.MonkeyPatch) -> Iterator[Walk]:
        """The stack with turns gone over at once, then call by call."""
        yield self.process().stack()
        with patch.context() as one_by_one:
            one_by_one.setattr(recursion, "LONGEST", 0)
            yield self.process().stack()


@pytest.mark.parametrize("name", [*REGULAR, *IRREGULAR])
def test_both_ways_give_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = {**REGULAR, **IRREGULAR}[name]
    with open_core(_core(code, tmp_path)) as core:
        read: list[int] = []
        plain = Calls.at

        def noted(calls: Calls, address: int) -> Call:
            read.append(address)
            return plain(calls, address)

        monkeypatch.setattr(Calls, "at", noted)
        ways = Deep(core).both(monkeypatch)
        at_once, few = next(ways), len(read)
        assert at_once == next(ways)
        assert at_once.depth >= _DEEP // 4
        if name in REGULAR:
            assert few < (len(read) - few) * 0.9


@pytest.mark.parametrize("name", ["one", "two"])
def test_damage_in_between_is_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20261125)
    with open_core(_core(REGULAR[name], tmp_path)) as core:
        patient = Deep(core)
        whole, _ = patient.both(monkeypatch)
        changed = 0
        for _ in range(12):
            frame = chance.choice(whole.frames)
            patient.memory.at = frame.address + chance.randrange(patient.php.layout.size("execute_data"))
            patient.memory.mask = chance.choice((0x01, 0x10, 0x80, 0xFF))
            at_once, one_by_one = patient.both(monkeypatch)
            assert at_once == one_by_one
            changed += at_once != whole
        assert changed > 2
