"""`triage pack`: one archive with the core and every file it needs."""

from __future__ import annotations

from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json, program
from triage.cli.show import find, is_path
from triage.config import cache_folder
from triage.corefile import open_core
from triage.corefile.sources import Scratch, Trust, opened
from triage.errors import InputError
from triage.model import Crash
from triage.pack import Packed, make_pack
from triage.pipeline import Pipeline
from triage.text import clean, plural, size


@click.command()
@click.argument("crash_or_core")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: CRASH.pack here.")
@click.option("--without-memory", is_flag=True,
              help="Leave the memory of the request out: native stacks and the crash's record only.")  # fmt: skip
@options
def command(crash_or_core: str, output: Path | None, without_memory: bool, chosen: Chosen) -> None:  # noqa: FBT001
    """Put a core, its program, its libraries and their debug files into one archive.

    On any other machine `triage show FILE.pack` then tells the same, whatever is installed there. A core
    holds passwords and what users typed in: give it to those only who may see that, or use
    --without-memory.
    """
    path = _core(crash_or_core, chosen)
    with Pipeline(chosen.settings) as pipeline:
        outcome = pipeline.triage(path)
        if outcome.crash is None:
            failure = outcome.failure
            raise InputError(failure.code if failure else "error", f"{path}: {failure.message if failure else ''}")
        target = output or Path(f"{outcome.crash.id}.pack")
        packed = _pack(path, outcome.crash, pipeline, target, memory=not without_memory)
    if chosen.json:
        print_json({"pack": str(packed.path), "bytes": packed.bytes, "files": list(packed.files),
                    "debug_files": packed.debug_files, "missing": list(packed.missing)})  # fmt: skip
        return
    _tell(packed, chosen)


def _core(crash_or_core: str, chosen: Chosen) -> Path:
    path = Path(crash_or_core) if is_path(crash_or_core) else Path(find(crash_or_core, chosen).core)
    if not path.is_file():
        raise InputError("not-there", f"{crash_or_core} cannot be packed: its core {path} is gone")
    return path


def _pack(path: Path, crash: Crash, pipeline: Pipeline, target: Path, *, memory: bool) -> Packed:
    with (
        Scratch(cache_folder()) as scratch,
        opened(path, scratch, Trust(everywhere=True)) as source,
        open_core(source.file) as core,
    ):
        core.memory.use_files(pipeline.finder.backing(core.modules))
        return make_pack(core, crash, pipeline.finder, target, memory=memory)


def _tell(packed: Packed, chosen: Chosen) -> None:
    print(f"{clean(str(packed.path))}  {size(packed.bytes)}")
    print(f"  {plural(len(packed.files), 'program file')}, {plural(packed.debug_files, 'debug file')}")
    if packed.missing:
        print("  left out, as this machine has no file of that very build:")
        for path in packed.missing:
            print(f"    {clean(path)}")
    chosen.say(f"Read it elsewhere with: {program()} show {packed.path}")
