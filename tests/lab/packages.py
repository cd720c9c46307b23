"""Debian packages unpacked beside the system, never installed: extensions that a test loads by path."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab.alone import alone
from tests.lab.places import folder
from tests.lab.suites import CannotMake

_SECONDS = 300


@alone
def unpacked(package: str, root: Path | None = None) -> Path:
    """The folder that holds the package's files: in the user's cache, or below `/opt` of a suite's root.

    Raises:
        CannotMake: when apt cannot fetch it.
    """
    place = root / "opt" / package if root else folder().parent / "packages" / package
    if (place / ".whole").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    inside = f"/opt/{package}" if root else str(place)
    enter = ["chroot", str(root)] if root else []
    fetch = f"cd {inside} && apt-get -q download {package} && dpkg-deb -x {package}_*.deb ."
    update = "apt-get -q -o Acquire::Check-Valid-Until=false update"
    if _run([*enter, "sh", "-c", fetch]) and _run([*enter, "sh", "-c", f"{update} && {fetch}"]):
        raise CannotMake(f"apt cannot fetch {package}")
    (place / ".whole").touch()
    return place


def _run(argv: list[str]) -> int:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    return done.returncode
