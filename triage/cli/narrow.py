"""`triage narrow`: the smallest set of options and extensions with which a command still crashes the same way."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json
from triage.config import cache_folder
from triage.errors import InputError, UsageError
from triage.insight.narrow import items as lines
from triage.insight.narrow.oracle import Oracle, Place
from triage.insight.narrow.script import reduce
from triage.insight.narrow.session import Budget, Narrowed, NoCrash, OutOfBudget, Session
from triage.insight.narrow.values import Boundary, boundaries
from triage.insight.sandbox import Sandbox, own_user, told
from triage.text import clean, plural

_LONG_AGO = 1_000_000_000
"""A file's time: opcache leaves files younger than two seconds alone, so the JIT would not see a fresh one."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--crash", metavar="CRASH", help="Start from the configuration recorded in this crash.")
@click.option("--any-crash", is_flag=True, help="Count a crash anywhere, not only at the same instruction: "
              "for damaged memory, whose victims differ from run to run.")  # fmt: skip
@click.option("--reduce-script", is_flag=True, help="Reduce the script as well; the result is printed.")
@click.option("--no-values", is_flag=True, help="Do not look for the value from which on it crashes.")
@click.option("--runs", default=2000, show_default=True, help="Run the command at most so often.")
@click.option("--minutes", default=60.0, show_default=True, help="Stop after so many minutes; run again to go on.")
@click.option("--seconds", default=20.0, show_default=True, help="One run may take so long.")
@click.option("--memory", default=4096, show_default=True, metavar="MB", help="One run may use so much.")
@click.option("--network", is_flag=True, help="Let the command use the network.")
@click.option("--as-root", is_flag=True, help="As root: do not run the command as the user nobody.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier run of the same command found.")
@click.argument("argv", nargs=-1, required=True, metavar="-- COMMAND...")
@options
def command(
    argv: tuple[str, ...], chosen: Chosen, crash: str | None, any_crash: bool, reduce_script: bool,  # noqa: FBT001
    no_values: bool, runs: int, minutes: float, seconds: float, memory: int, network: bool, as_root: bool,  # noqa: FBT001
    fresh: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """Find the few ini settings and extensions that a crash needs.

    COMMAND is a PHP command line that crashes, `php [-d name=value …] script.php`. It is run again and again with
    fewer of its settings: only do that on a test machine, with data you can lose. It runs without a network, as
    the user nobody when you are root, with limits on time and memory.
    """
    parsed = lines.parse(argv)
    wanted = _items(parsed, crash, chosen)
    sandbox = Sandbox(seconds=seconds, memory=memory << 20, network=network, user=None if as_root else own_user())
    for remark in told(sandbox):
        chosen.say(f"note: {remark}")
    state = _state(argv, crash)
    if fresh:
        state.unlink(missing_ok=True)
    parsed = _absolute(parsed)
    _check_readable(parsed, sandbox)
    with Oracle(sandbox, {}) as oracle:
        session = Session(parsed, wanted, oracle, Budget(runs=runs, seconds=minutes * 60), state,
                          same=(lambda one, other: True) if any_crash else _same, say=chosen.say)  # fmt: skip
        found = _run(session)
        edges = [] if no_values else list(boundaries(found.needed, _default_of(parsed), session.crashes))
        script = _reduced(parsed, found, oracle, session) if reduce_script else None
    state.unlink(missing_ok=True)
    if chosen.json:
        print_json(_to_json(found, edges, script))
        return
    _print(found, edges, script, parsed)


def _same(one: Place, other: Place) -> bool:
    return one == other


def _items(parsed: lines.Command, crash: str | None, chosen: Chosen) -> Sequence[lines.Item]:
    if crash is None:
        return lines.from_files(parsed)
    with chosen.open_store() as store:
        runtime = store.crash(crash).runtime
    if runtime is None:
        raise InputError("no-runtime", f"crash {crash} has no readable interpreter, so no settings are known")
    found, missing = lines.from_crash(runtime, parsed)
    for one in missing:
        chosen.say(f"left out: {one}; give it with -d if it matters")
    return found


def _absolute(parsed: lines.Command) -> lines.Command:
    """The command with the paths of program and files whole: it runs in a folder of its own."""
    program = shutil.which(parsed.program)
    if program is None:
        raise UsageError(f"there is no program {parsed.program!r}")
    rest = tuple(str(Path(word).absolute()) if Path(word).is_file() else word for word in parsed.rest)
    return lines.Command(program, parsed.items, rest, parsed.bare)


def _check_readable(parsed: lines.Command, sandbox: Sandbox) -> None:
    """Whoever runs it must be able to read it."""
    if sandbox.user is None or os.geteuid() != 0:
        return
    for word in parsed.rest:
        path = Path(word)
        if path.is_absolute() and path.is_file() and not _reads(sandbox.user, path):
            raise UsageError(
                f"the user nobody, who runs the command, cannot read {path}",
                help="Copy it to a folder everybody can read, such as one in /tmp, or use --as-root.",
            )


def _reads(user: int, path: Path) -> bool:
    argv = ["setpriv", f"--reuid={user}", "--clear-groups", "test", "-r", str(path)]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _state(argv: Sequence[str], crash: str | None) -> Path:
    name = hashlib.sha256("\0".join((*argv, crash or "", str(Path.cwd()))).encode("utf-8", "replace")).hexdigest()[
        :16
    ]
    return cache_folder() / "narrow" / f"{name}.json"


def _run(session: Session) -> Narrowed:
    try:
        return session.run()
    except NoCrash as error:
        raise InputError("no-crash", str(error), help="Does the command crash by itself? A crash that comes once in "
                         "100 runs needs a script that does its work many times.") from error  # fmt: skip
    except OutOfBudget:
        left = ", ".join(item.text for item in session.best[:12])
        raise InputError("out-of-budget", f"the budget is used up with {len(session.best)} lines left: {clean(left)}",
                         help="Run the same command again: it goes on from here.") from None  # fmt: skip


def _default_of(parsed: lines.Command) -> Callable[[str], str | None]:
    """What a setting is without any ini line, asked of PHP itself with the extensions loaded that are needed."""

    def default(name: str) -> str | None:
        argv = [parsed.program, "-n"]
        if name.startswith("opcache."):
            argv += ["-d", "zend_extension=opcache"]
        code = f"echo json_encode(ini_get({name!r}));"
        done = subprocess.run([*argv, "-r", code], capture_output=True, timeout=20, check=False,
                              stdin=subprocess.DEVNULL)  # fmt: skip
        text = done.stdout.decode("utf-8", "replace").strip()
        return text.strip('"') if done.returncode == 0 and text not in ("false", "") else None

    return default


def _reduced(parsed: lines.Command, found: Narrowed, oracle: Oracle, session: Session) -> str:
    """The script with the lines left out that the crash does not need."""
    at = next((at for at, word in enumerate(parsed.rest) if Path(word).is_file()), None)
    if at is None:
        raise UsageError("the command names no script file to reduce")
    original = Path(parsed.rest[at]).read_text("utf-8", "surrogateescape")
    with tempfile.TemporaryDirectory(prefix="triage-script-") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder) / Path(parsed.rest[at]).name
        shorter = lines.Command(
            parsed.program, (), (*parsed.rest[:at], str(place), *parsed.rest[at + 1 :]), bare=True
        )

        def crashes(text: str) -> bool:
            place.write_text(text, "utf-8", "surrogateescape")
            os.utime(place, (_LONG_AGO, _LONG_AGO))
            return session.crashes_as(shorter.argv(found.needed))

        return reduce(original, crashes)


def _print(found: Narrowed, edges: Sequence[Boundary], script: str | None, parsed: lines.Command) -> None:
    print(f"{found.items} lines narrowed to {len(found.needed)} in {plural(found.runs, 'run')} ({found.place.text})")
    for item in found.needed:
        print(f"  {clean(item.text)}")
    if not found.needed:
        print("  none: it crashes without any setting or extension")
    if found.tries > 1:
        print(f"It crashes in about {found.chance:.0%} of runs; each harmless set was run {found.tries} times. The "
              f"probability that any of these answers is wrong: {found.error:.1%}.")  # fmt: skip
    print("Each of these was left out once more on its own: then it does not crash.")
    for place, count in found.others.items():
        print(f"Another crash came {count} times meanwhile, and was not counted: {clean(place)}")
    for edge in edges:
        print(_edge(edge))
    print("To see it again:")
    print("  " + " ".join(_quoted(word) for word in parsed.argv(found.needed)))
    if script is not None:
        print("The script, reduced:")
        print(clean(script.rstrip("\n"), keep_newlines=True))


def _edge(edge: Boundary) -> str:
    if len(edge.crashing) + len(edge.harmless) > 2 or not edge.crashing[0].lstrip("-").isdigit():
        harmless = ", ".join(edge.harmless) or "none that was tried"
        return f"{edge.name}: crashes with {', '.join(edge.crashing)}; does not with {harmless}"
    return (f"{edge.name}: crashes at {edge.crashing[0]}, no longer at {edge.harmless[0]} "
            f"(here it was {edge.value}; PHP's default is {edge.default})")  # fmt: skip


def _quoted(word: str) -> str:
    plain = word.replace("/", "").replace(".", "").replace("-", "").replace("_", "").replace("=", "")
    return word if plain.isalnum() else "'" + clean(word).replace("'", "'\\''") + "'"


def _to_json(found: Narrowed, edges: Sequence[Boundary], script: str | None) -> dict[str, object]:
    return {
        **{name: value for name, value in asdict(found).items() if name not in ("needed", "place")},
        "needed": [item.text for item in found.needed], "place": found.place.text,
        "values": [asdict(edge) for edge in edges], "script": script,
    }  # fmt: skip
