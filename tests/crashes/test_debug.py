"""`triage debug`: GDB with commands of ours on real cores, and the questions it leads through."""

from __future__ import annotations

import gzip
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.crashes.conftest import Maker, show
from tests.lab.php import FIXTURES
from triage.cli.main import triage
from triage.demo.crashes import find_php
from triage.demo.lab import Process, crash

ROOT = Path(__file__).parent.parent.parent
_ADDRESS = re.compile(r"0x[0-9a-f]+")


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A core of fixtures/php/inspect.php."""
    php = find_php()
    if php is None:
        pytest.skip("no php here: apt install php-cli")
    folder = tmp_path_factory.mktemp("debug")
    script = Path(shutil.copy(FIXTURES / "inspect.php", folder / "inspect.php"))
    argv = (php.path, "-d", "memory_limit=64M", str(script))
    return crash(Process(argv=argv, folder=folder, env={}), folder / "inspect.core")


def debug(core: Path, *commands: str) -> list[str]:
    """What GDB prints of commands, without what it says while it loads."""
    argv = [sys.executable, "-m", "triage", "debug", str(core), "-q", "-c", "echo >>>\\n"]
    for command in commands:
        argv += ["-c", command]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split(">>>\n", 1)[1].splitlines()


def plain(lines: list[str]) -> list[str]:
    """Lines with every address told as its order of appearance."""
    seen: dict[str, str] = {}
    return [_ADDRESS.sub(lambda found: seen.setdefault(found[0], f"@{len(seen)}"), line) for line in lines]


def test_a_frame_and_what_hangs_on_it(core: Path) -> None:
    script = str(core.with_name("inspect.php"))
    lines = debug(
        core, "php-frame 1", "php-frame 2", "php-frame 9", "php-ini memory_limit", "php-ini no_such", "php-ini"
    )
    changed = lines[18:]
    assert "memory_limit = 64M  (built in: 128M)" in changed
    assert not [line for line in changed if re.fullmatch(r"\S+ = (\S*)  \(built in: \1\)", line)]
    lines = lines[:18]
    assert plain(lines) == [
        "#1 Shop\\Cart->total at @0 (execute_data)",
        f"  {script}:14",
        "  instruction ZEND_DO_FCALL_BY_NAME",
        "  $this: Shop\\Cart at @1",
        "  argument $items: array(2)",
        '  argument $note: string(12) = "hello hello "',
        "  $items: array(2)  (zval at @2)",
        '  $note: string(12) = "hello hello "  (zval at @3)',
        "  $limit: null  (zval at @4)",
        "  $sum: float = 12.5  (zval at @5)",
        "  $password: string(13) = [redacted]  (zval at @6)",
        "  $list: array(3)  (zval at @7)",
        "#2 {main} at @8 (execute_data)",
        f"  {script}:18",
        "  instruction ZEND_DO_FCALL",
        "there is no PHP frame 9: they go from 0 to 2",
        "memory_limit = 64M  (built in: 128M)",
        "no setting has 'no_such' in its name",
    ]


def test_values_by_address(core: Path) -> None:
    # r14 holds the running frame; its variables follow it after 80 bytes, 16 bytes each.
    note, listed = "$r14 + 80 + 16", "$r14 + 80 + 80"
    lines = debug(
        core, f"php-zval {listed}", f"php-hash *(long*)({listed})", f"php-zval {note}",
        f"php-string *(long*)({note})", f"php-hash {note}", "php-string 0x10", "php-zval 0x10", "php-hash",
    )  # fmt: skip
    assert plain(lines) == [
        "zval at @0: array(3)",
        "  value @1, type 7",
        "  points to @2, refcount 2",
        "  PHP's heap: 0 bytes into a block of 56 bytes at @2, in use",
        "  it holds an array of 3 elements",
        "array at @2: 3 elements, 3 of 8 places used, refcount 2",
        "  'apple' => int = 3",
        "  'pear' => string(3) = \"two\"",
        "  (number) => bool = true",
        'zval at @3: string(12) = "hello hello "',
        "  value @4, type 6",
        "  points to @5, refcount 1",
        "  PHP's heap: 0 bytes into a block of 48 bytes at @5, in use",
        "  it holds a string of 12 bytes",
        "string at @5: 12 bytes, refcount 1",
        "  'hello hello '",
        "there is no PHP array at @3: its counts contradict each other",
        "there is no PHP string at @6: that is not readable",
        "@6 is not readable: nothing is known of that memory",
        "an address is missing",
        "Such as @7, $rdi, or any expression GDB knows.",
    ]


def test_what_is_this_address(core: Path) -> None:
    php = show_path(core)
    lines = debug(core, "php-heap $r14", "php-heap $r14 + 8000", "php-heap $sp", "php-heap $pc",
                  "php-heap &executor_globals", "php-heap 0x1000", "php-heap no_such_name")  # fmt: skip
    text = [re.sub(r"\b(block of|at) \d+", r"\1 N", line) for line in plain(lines)]
    kept = [line for line in text if " 8 bytes there" not in line and "bytes behind it begins" not in line]
    assert [re.sub(r"@\d+(-@\d+)?", "@", line) for line in kept] == [
        "@ lies in @, rights rw-",
        "  PHP's own stack of calls, 0 bytes into the record of Shop\\Cart->total (php-frame 1)",
        "@ lies in @, rights rw-",
        "  PHP's own stack of calls, in a part that is not in use (or no longer)",
        "@ lies in @, rights rw-",
        f"  the stack of thread {pid(core)}, 0 bytes above its stack pointer",
        "@ lies in @, rights r-x",
        "  file /usr/lib/x86_64-linux-gnu/libc.so.6, at @ in it",
        "@ lies in @, rights rw-",
        f"  file {php}, at @ in it",
        "@: nothing is mapped there",
        "'no_such_name' is no number",
    ]


def show_path(core: Path) -> str:
    """The program of a core, as its list of mapped files has it."""
    return str(_json(core)["executable"])


def pid(core: Path) -> int:
    """The process that crashed."""
    return int(str(_json(core)["pid"]))


def _json(core: Path) -> dict[str, object]:
    import json

    done = CliRunner().invoke(triage, ["show", str(core), "--json"], catch_exceptions=False)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["fiber-generator", "jit-tracing"])
def test_the_stack_is_the_one_that_show_has(name: str, made: Maker) -> None:
    case = made(name)
    frames = next(thread for thread in show(case)["threads"] if thread["crashed"])["frames"]
    want = [(frame["kind"], frame["function"], frame["line"]) for frame in frames]
    printed = [re.match(r" *(\d+)? +(native|php) +(\S+?)(?:\(.*\))?(?:   .*?(?::(\d+))?)?$", line)
               for line in debug(case.core, "php-bt")]  # fmt: skip
    got = [
        (found[2], re.split(r"->|::(?!\{)", found[3])[-1], found[2] == "php" and found[4])
        for found in printed
        if found
    ]
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        assert mine[0] == theirs[0]
        assert mine[1] == theirs[1] or theirs[1] in mine[1]
        assert theirs[0] == "native" or mine[2] == (str(theirs[2]) if theirs[2] is not None else None)
    numbers = [int(found[1]) for found in printed if found and found[1]]
    assert numbers == list(range(len(numbers)))


def test_it_leads_from_question_to_question(core: Path) -> None:
    steps = debug(core, *["php-why"] * 7, "php-why nonsense", "php-why code")
    asked = [line for line in steps if line.endswith("?") and not line.startswith(" ")]
    assert asked == [
        "What happened?",
        "Which PHP code ran?",
        "Is PHP's memory damaged?",
        "Are the files it ran from sound?",
        "Whose fault is it, and is the top of the stack the cause?",
        "What do I do first?",
        "Which PHP code ran?",
    ]
    assert "That was the last question. php-why what begins again." in steps
    assert "Next: php-why   (Which PHP code ran?)   or php-why WORD: what code memory files whose first" in steps
    listed = next(line for line in steps if line.startswith("Questions: "))
    assert listed.startswith("Questions: what (What happened?), code (")
    one = steps[steps.index(listed) + 1 :]
    one = one[: one.index("")]
    guided = CliRunner().invoke(triage, ["debug", "--guide", str(core)], catch_exceptions=False)
    assert guided.exit_code == 0
    assert guided.stdout.startswith("What happened?\n")
    assert "\n".join(one) in guided.stdout


def test_a_program_without_interpreter(tmp_path: Path) -> None:
    core = crash(Process(argv=("/bin/sh", "-c", "kill -SEGV $$"), folder=tmp_path, env={}), tmp_path / "sh.core")
    lines = debug(core, "php-bt", "php-heap $sp", "info registers rip")
    assert lines[0].split()[0] == "native"
    assert "Undefined command" not in "".join(lines)
    assert lines[-1].startswith("rip")


def test_what_is_no_core(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(b"no core at all")
    done = CliRunner().invoke(triage, ["debug", str(tmp_path / "core")])
    assert done.exit_code == 1
    assert done.stdout == ""


def test_a_compressed_core_is_unpacked_for_the_session(
    core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wrapped = tmp_path / "one.core.gz"
    wrapped.write_bytes(gzip.compress(core.read_bytes(), 1))
    asked = ("php-frame 1", "php-why what", "info registers rip")
    assert debug(wrapped, *asked) == debug(core, *asked)
    assert list((tmp_path / "cache" / "triage").glob("unpacked-*")) == []


def test_a_pack_brings_its_files_along(core: Path, tmp_path: Path) -> None:
    packed = tmp_path / "one.pack"
    argv = [sys.executable, "-m", "triage", "pack", str(core), "-o", str(packed), "-q"]
    subprocess.run(argv, cwd=ROOT, check=True, timeout=120, capture_output=True)
    asked = ("php-frame 1", "php-why what", "info registers rip")
    assert debug(packed, *asked) == debug(core, *asked)


def test_a_defect_in_an_answer_is_told_and_the_session_goes_on(core: Path) -> None:
    program = (
        "import sys\n"
        "from triage.debug.answers import Answers\n"
        "def answer(self, command, words): raise RuntimeError('of this test')\n"
        "Answers.answer = answer\n"
        "from triage.cli.main import run\n"
        "sys.argv = ['triage', 'debug', sys.argv[1], '-q', '-c', 'php-frame', '-c', 'echo after\\\\n']\n"
        "run()\n"
    )
    argv = [sys.executable, "-c", program, str(core)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.endswith("no answer: RuntimeError. This is a defect in triage.\nafter\n")
    assert "of this test" in done.stderr


def test_scripts_around_the_core_do_not_run(core: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for name in (".gdbinit", "gdbinit", ".gdb_history"):
        (tmp_path / name).write_text(f"shell touch {marker}\n")
    argv = [sys.executable, "-m", "triage", "debug", str(core), "-q", "-c", "echo done\\n"]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.endswith("done\n")
    assert not marker.exists()


class Terminal:
    """`triage debug` on a terminal of its own."""

    def __init__(self, core: Path) -> None:
        self.pid, self._line = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "triage", "debug", str(core)])  # noqa: S606
        self.text = ""

    def until(self, end: str, seconds: float = 60) -> str:
        """What it prints up to and with `end`."""
        limit = time.monotonic() + seconds
        while end not in self.text and time.monotonic() < limit:
            if select.select([self._line], [], [], 0.2)[0]:
                self.text += os.read(self._line, 65536).decode(errors="replace")
        before, found, self.text = self.text.partition(end)
        assert found, before[-2000:]
        return before + found

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._line, text.encode())

    def ends(self) -> int:
        """Its exit status."""
        while True:
            try:
                os.read(self._line, 65536)
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_control_c_interrupts_gdb_and_ends_nothing(core: Path) -> None:
    terminal = Terminal(core)
    try:
        banner = terminal.until("(gdb) ")
        assert "php-why leads through the crash question by question" in banner
        terminal.type("python import time; time.sleep(60)\n")
        time.sleep(1)
        terminal.type("\x03")
        assert "KeyboardInterrupt" in terminal.until("(gdb) ", 20)
        terminal.type("php-frame 1\n")
        assert "Shop\\Cart->total" in terminal.until("(gdb) ")
        terminal.type("quit\n")
        assert terminal.ends() == 0
    except BaseException:
        os.kill(terminal.pid, signal.SIGKILL)
        raise


def test_a_core_that_is_cut_off_says_what_is_missing(core: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.core"
    short.write_bytes(core.read_bytes()[:3_000_000])
    lines = debug(short, "php-frame", "php-why what")
    assert re.fullmatch(r"the PHP stack leads to 0x\w+, which is not readable; cut there", lines[0])
    assert lines[1] == "What happened?"
