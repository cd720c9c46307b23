"""The story end to end, as docs/story.md tells it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.lab.fpm import find_fpm
from tests.unit.guarded import ROOT


@pytest.mark.whole
@pytest.mark.php
@pytest.mark.gdb
@pytest.mark.skipif(find_fpm() is None or os.geteuid() != 0, reason="needs php-fpm and root")
def test_a_fleet_from_cores_to_the_change_to_revert() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/bench/story.py")],
        capture_output=True, text=True, timeout=900, check=False, cwd=ROOT,
    )  # fmt: skip

    assert done.stdout.splitlines()[-1] == (
        "# victim, not cause: yes; both settings: yes; the beginning: yes; the change: yes"
    )
    assert done.returncode == 0
