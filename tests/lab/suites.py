"""PHP of other Debian releases, each unpacked into a folder of its own by debootstrap.

Nothing of them is mixed into this system: they run through chroot, which needs root. A folder is
made once and kept in the user's cache; a stamp file marks it as whole.

    python -m tests.lab.suites          make all of them, one after another
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.lab.alone import alone
from tests.lab.places import folder

MIRROR = os.environ.get("TRIAGE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
_LIMIT_SECONDS = 1200


@dataclass(frozen=True, slots=True)
class Suite:
    """A Debian release and the PHP it ships; `newer` names the release its PHP comes from, if another."""

    name: str
    php: str
    packages: tuple[str, ...]
    newer: str | None = None


SUITES = (
    Suite("bullseye", "7.4", ("php7.4-cli", "php7.4-opcache", "php7.4-fpm")),
    # Without its security updates: 8.2.32, whose private structures differ from 8.2.36's.
    Suite("bookworm", "8.2", ("php8.2-cli", "php8.2-opcache", "php8.2-fpm")),
    Suite("trixie", "8.4", ("php8.4-cli", "php8.4-opcache", "php8.4-fpm")),
    Suite("sid", "8.5", ("php8.5-cli", "php8.5-fpm"), newer="experimental"),
)


class CannotMake(Exception):
    """Why a suite cannot be had on this machine."""


@alone
def ensure(suite: Suite) -> Path:
    """The root folder of a suite, made if it is not there yet.

    Raises:
        CannotMake: without root, without debootstrap, or when debootstrap fails.
    """
    root = folder() / suite.name
    stamp, wanted = root / ".whole", " ".join(suite.packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return root
    if os.geteuid() != 0:
        raise CannotMake("debootstrap and chroot need root")
    if shutil.which("debootstrap") is None:
        raise CannotMake("debootstrap is not installed")
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f"{suite.name}.log").open("wb") as log:
        if not stamp.exists():
            shutil.rmtree(root, ignore_errors=True)
            _debootstrap(suite, root, log)
        _install(suite, root, log)
    stamp.write_text(wanted)
    return root


def _debootstrap(suite: Suite, root: Path, log: BinaryIO) -> None:
    _run(suite, ["debootstrap", "--variant=minbase", suite.name, str(root), MIRROR], log)
    if suite.newer:
        sources = f"deb {MIRROR} {suite.name} main\ndeb {MIRROR} {suite.newer} main\n"
        (root / "etc/apt/sources.list").write_text(sources)


def _install(suite: Suite, root: Path, log: BinaryIO) -> None:
    """The suite's packages, or those that came to the list since. Nothing of them is started."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    # A mirror that stands still is fine: nothing here is served to anybody.
    apt = ["chroot", str(root), "apt-get", "-o", "Acquire::Check-Valid-Until=false"]
    _run(suite, [*apt, "update"], log)
    _run(suite, [*apt, "install", "-y", "--no-install-recommends", *suite.packages], log)


def _run(suite: Suite, command: list[str], log: BinaryIO) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        timeout=_LIMIT_SECONDS,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode != 0:
        lines = Path(log.name).read_text(errors="replace").splitlines()[-3:]
        raise CannotMake(f"{command[0]} for {suite.name} failed: {' / '.join(lines)}")


if __name__ == "__main__":
    for each in SUITES:
        print(each.name, ensure(each), file=sys.stderr)
