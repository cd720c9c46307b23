"""Inputs led by which lines they reach: atheris (libFuzzer) over the parsers of bytes.

    scripts/fuzz --coverage kernel --seconds 600

Runs one target in a process of its own, since libFuzzer ends the process it runs in. An input that breaks
something is kept as `crash-…` in the folder that is named, and is run again with `--file`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.M)
_REACHED = re.compile(r"cov: (\d+) ft: (\d+)")
_PEAK = re.compile(r"rss: (\d+)Mb")
_MEGABYTES, _HANG_SECONDS = 500, 10


def lead(name: str, seconds: int, keep: Path) -> int:
    """Fuzz one target; prints a line, and ends with 1 when an input broke it."""
    keep.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="triage-fuzz-") as folder:
        argv = [
            sys.executable, "-m", "tests.fuzz.coverage", name, folder, f"-max_total_time={seconds}",
            f"-timeout={_HANG_SECONDS}", f"-rss_limit_mb={_MEGABYTES}", f"-artifact_prefix={keep}/", "-max_len=20000",
        ]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    runs, reached, peak = _DONE.search(said), _REACHED.findall(said), _PEAK.findall(said)
    if done.returncode or runs is None:
        print(said[-6000:], file=sys.stderr)
        print(f"{name}: broken; the input is in {keep}")
        return 1
    lines = f"{reached[-1][0]} edges (at first {reached[0][0]})" if reached else "nothing reached"
    print(f"{name:<9}{runs[1]:>9} inputs in {runs[2]} s, {lines}, {max(map(int, peak), default=0)} MB")
    return 0


def main() -> None:
    """The process that libFuzzer runs in: TARGET FOLDER [libFuzzer's options]."""
    import atheris

    name, folder, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["triage", "pygdbmi"]):
        from tests.fuzz.targets import TARGETS, Raw

        target = TARGETS[name](Path(folder))
    assert isinstance(target, Raw)
    corpus = Path(folder) / "corpus"
    corpus.mkdir()
    for at, seed in enumerate(target.seeds):
        (corpus / f"seed-{at}").write_bytes(seed)

    def one(data: bytes) -> None:
        target.take(data)

    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
