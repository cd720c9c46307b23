"""The heap check: what was done to PHP's heap is found and named, and a sound heap is never called damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crashes.conftest import Maker, of_suite
from tests.lab.php import FIXTURES, Interpreter
from tests.lab.places import place
from tests.lab.suites import SUITES, Suite
from triage.corefile import open_core
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash
from triage.model import HeapCheck
from triage.runtimes.php import PhpProcess, detect
from triage.runtimes.php.layout import layout_for
from triage.symbols import Finder

pytestmark = [pytest.mark.php]

# Classes PHP itself hardly uses between the damage and the end.
SIZES = (80, 112, 128, 160, 192, 224, 256, 384, 448, 512, 640, 768, 896, 1024, 1280)
SHORT = tuple(size for size in SIZES if size < 256)
"""Those of which two begin within 256 bytes."""
KINDS = {
    "overflow-text": "overflow",
    "overflow-fill": "overflow",
    "stale-decrement": "use-after-free",
    "stale-increment": "use-after-free",
    "stale-type": "use-after-free",
    "stale-text": "use-after-free",
    "stale-number": "use-after-free",
    "stale-pointer": "use-after-free",
    "double-free": "double-free",
    "double-free-at-once": "double-free",
}
_CACHE = ("opcache.enable_cli=1", "opcache.memory_consumption=16", "opcache.file_update_protection=0")
_WAYS = ((), _CACHE, (*_CACHE, "opcache.jit_buffer_size=16M", "opcache.jit=tracing"))


def check(core: Path, root: Path | None = None) -> HeapCheck:
    """What the reading of a core says of its heap."""
    with open_core(core) as found:
        finder = Finder(root)
        found.memory.use_files(finder.backing(found.modules))
        process = detect(found, finder)
        assert isinstance(process, PhpProcess)
        heap = process.read().runtime.heap
    assert heap is not None
    return heap


def dead(script: str, php: Interpreter, folder: Path, *arguments: str, settings: tuple[str, ...] = ()) -> Path:
    """The core of a fixture run with these arguments."""
    options = [part for setting in settings for part in ("-d", setting)]
    run = place(php.root) / "heap" if php.root else folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    shutil.copy(FIXTURES / script, run)
    within = f"/{run.relative_to(php.root)}" if php.root else str(run)
    inside = f"{within}/{script}"
    enter = ["chroot", str(php.root), "/usr/bin/env", "-C", within] if php.root else []
    argv = (*enter, "php", *options, inside, *arguments)
    return crash(Process(argv=argv, folder=run, env={}), folder / "heap.core")


def verdicts(
    kind: str, php: Interpreter, folder: Path, sizes: tuple[int, ...] = SIZES
) -> dict[int | None, str | None]:
    core = dead("heap.php", php, folder, kind, *map(str, sizes), settings=("ffi.enable=1",))
    found = check(core, php.root)
    assert found.state == "damaged"
    return {fault.bin: fault.verdict for fault in found.faults if fault.what == "free-list"}


def host() -> Interpreter:
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    return Interpreter(php.version)


@pytest.mark.parametrize("kind", list(KINDS))
def test_kind_and_size_class_are_right(kind: str, tmp_path: Path) -> None:
    assert verdicts(kind, host(), tmp_path) == dict.fromkeys(SIZES, KINDS[kind])


@pytest.mark.suites
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_kind_and_size_class_are_right_in_other_versions(suite: Suite, tmp_path: Path) -> None:
    php = of_suite(suite)
    wrong = {kind: verdicts(kind, php, tmp_path) for kind in KINDS}
    wanted = {kind: dict.fromkeys(SIZES, verdict) for kind, verdict in KINDS.items()}
    assert wrong == wanted


@pytest.mark.suites
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_one_nul_too_many_is_never_called_something_else(suite: Suite, tmp_path: Path) -> None:
    """Before 8.4 it shows only where the shortened link leads to no block; since 8.4 PHP keeps a copy."""
    php = of_suite(suite)
    found = verdicts("overflow-nul", php, tmp_path)
    assert set(found.values()) == {"overflow"}
    assert len(found) >= 5


def test_one_nul_too_many_in_a_link_that_leads_to_a_block_in_use_then(tmp_path: Path) -> None:
    assert verdicts("overflow-nul-in-use", host(), tmp_path, SHORT) == dict.fromkeys(SHORT, "overflow")


@pytest.mark.suites
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_the_same_in_other_versions(suite: Suite, tmp_path: Path) -> None:
    assert verdicts("overflow-nul-in-use", of_suite(suite), tmp_path, SHORT) == dict.fromkeys(SHORT, "overflow")


def test_the_evidence_names_the_neighbours(tmp_path: Path) -> None:
    core = dead("heap.php", host(), tmp_path, "overflow-text", "448", settings=("ffi.enable=1",))
    (fault,) = check(core).faults
    assert (fault.what, fault.bin, fault.verdict, fault.confidence) == ("free-list", 448, "overflow", "likely")
    assert fault.evidence[0].startswith("the bytes at the end of the block before")
    assert "its link is text" in fault.evidence
    assert fault.slot is not None
    assert f"the block before it ({fault.slot - 448:#x}) is a block of unknown use" in fault.evidence


def test_an_object_that_was_freed_while_in_use(tmp_path: Path) -> None:
    php = host()
    layout = layout_for(f"{php.version[0]}.{php.version[1]}", zts=False)
    assert layout is not None
    offset = layout.offset("executor_globals", "objects_store")
    found = check(dead("heap_object.php", php, tmp_path, str(offset), settings=("ffi.enable=1",)))
    told = {(fault.what, fault.verdict, fault.bin) for fault in found.faults if fault.what != "free-list"}
    assert told == {("object", "use-after-free", 80), ("gc-buffer", "use-after-free", 80)}


def healthy(seed: int, php: Interpreter, folder: Path) -> HeapCheck:
    how = "outside" if seed % 4 == 3 else "inside"
    ways = [way for way in _WAYS if php.version >= (8, 0) or not any("jit" in setting for setting in way)]
    core = dead("healthy.php", php, folder, str(seed), how, settings=ways[seed % len(ways)])
    return check(core, php.root)


def test_a_sound_heap_is_left_alone(made: Maker, tmp_path: Path) -> None:
    found = [healthy(seed, host(), tmp_path) for seed in range(16)]
    found += [check(made(name).core) for name in ("fibers", "generator", "output", "jit-tracing")]
    assert [(heap.state, heap.reason, heap.faults) for heap in found] == [("intact", None, ())] * 20


@pytest.mark.whole
@pytest.mark.suites
def test_two_hundred_sound_heaps(tmp_path: Path) -> None:
    interpreters = [host(), *(of_suite(suite) for suite in SUITES)]
    found = [healthy(seed, php, tmp_path) for php in interpreters for seed in range(100, 140)]
    assert len(found) == 200
    assert [(heap.state, heap.reason, heap.faults) for heap in found] == [("intact", None, ())] * 200


def test_a_heap_that_is_switched_off_is_not_judged(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    argv = ("php", str(FIXTURES / "healthy.php"), "1", "inside")
    core = crash(Process(argv=argv, folder=run, env={"USE_ZEND_ALLOC": "0"}), tmp_path / "off.core")
    found = check(core)
    assert found.state == "unknown"
    assert "USE_ZEND_ALLOC=0" in (found.reason or "")
