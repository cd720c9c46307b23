"""The doctor's word against the kernel's deed: real php-fpm workers, killed, one set-up after the other."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.fpm import find_fpm
from tests.lab.pools import Setup, running, what_the_kernel_did
from triage.doctor import Grade, Host, Report, examine, predict, read_host

pytestmark = [
    pytest.mark.php,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to start pools of other users"),
    pytest.mark.skipif(find_fpm() is None, reason="no php-fpm here: apt install php-fpm"),
]


@dataclass(frozen=True, slots=True)
class Row:
    """A set-up, whether a core comes, and which checks fail."""

    setup: Setup
    dumps: bool
    failing: tuple[str, ...]


_RUN = ("--shell=/bin/sh", "--", "-c", 'exec "$@"', "sh")
_PRIVATE = ("unshare", "--mount", "sh", "-c")
_NO_WRITE = ("capsh", "--drop=cap_dac_override,cap_dac_read_search,cap_fowner", *_RUN)

# The first eight are the measured table: php-fpm 8.2, fs.suid_dumpable 0, cores as files.
ROWS = (
    Row(Setup(name="default", inherited="0:unlimited"), False, ("dumpable", "core limit")),
    Row(Setup(name="inherited limit", inherited="unlimited", writable=False), False, ("dumpable", "core folder")),
    Row(Setup(name="limit only", rlimit_core="unlimited"), False, ("dumpable",)),
    Row(Setup(name="not writable", rlimit_core="unlimited", dumpable=True, writable=False), False, ("core folder",)),
    Row(Setup(name="no limit set", inherited="0:unlimited", dumpable=True), False, ("core limit",)),
    Row(Setup(name="all set", rlimit_core="unlimited", dumpable=True), True, ()),
    Row(Setup(name="root", user="root", rlimit_core="unlimited"), True, ()),
    Row(
        Setup(
            name="hard limit 0 that it may not raise", rlimit_core="unlimited", dumpable=True, inherited="0:0",
            wrap=("capsh", "--drop=cap_sys_resource", *_RUN),
        ),
        False, ("core limit",),
    ),
    # Beyond it.
    Row(
        Setup(
            name="a folder bound over in its own mounts", rlimit_core="unlimited", dumpable=True, writable=False,
            wrap=(*_PRIVATE, 'mkdir -p {folder}/other && chown www-data {folder}/other && '
                  'mount --bind {folder}/other {folder}/home && exec "$@"', "sh"),
        ),
        True, (),
    ),
    Row(
        Setup(
            name="read-only in its own mounts", rlimit_core="unlimited", dumpable=True,
            wrap=(*_PRIVATE, 'mount --bind {folder}/home {folder}/home && mount -o remount,ro,bind {folder}/home && '
                  'exec "$@"', "sh"),
        ),
        False, ("core folder",),
    ),
    Row(
        Setup(name="root without its rights", user="root", rlimit_core="unlimited", writable=True, wrap=_NO_WRITE),
        True, (),
    ),
    Row(Setup(name="a limit below one page", dumpable=True, inherited="4095:4095"), False, ("core limit",)),
)  # fmt: skip


def _host() -> Host:
    host = read_host()
    if host.pattern.is_pipe or host.pattern.is_absolute or host.suid_dumpable:
        pytest.skip(f"cores go to {host.pattern.text} here: the table is about files beside the process")
    return host


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.setup.name.replace(" ", "-"))
def test_the_kernel_does_what_was_predicted(row: Row, tmp_path: Path) -> None:
    host, program = _host(), find_fpm()
    if row.setup.wrap and shutil.which(row.setup.wrap[0]) is None:
        pytest.skip(f"no {row.setup.wrap[0]} here")
    assert program is not None
    with running(program, row.setup, tmp_path / "pool") as (worker, log):
        prediction = predict(worker, host)
        report = examine([worker], host)[0]
        assert prediction.dumps is not None
        assert what_the_kernel_did(worker, log) == prediction.dumps == row.dumps
    assert _failing(report) == row.failing
    assert all(check.fix for check in report.checks if check.grade is Grade.FAIL)


def _failing(report: Report) -> tuple[str, ...]:
    return tuple(check.name for check in report.checks if check.grade is Grade.FAIL)


def test_root_without_its_rights_cannot_write_into_another_users_folder(tmp_path: Path) -> None:
    host, program = _host(), find_fpm()
    assert program is not None
    setup = Setup(name="x", user="root", rlimit_core="unlimited", writable=False, wrap=_NO_WRITE)
    pool = tmp_path / "pool"
    (pool / "home").mkdir(parents=True)
    with running(program, setup, tmp_path / "pool2") as (worker, log):
        home = tmp_path / "pool2" / "home"
        home.chmod(0o755)
        shutil.chown(home, "www-data")
        prediction = predict(worker, host)
        assert (prediction.dumps, prediction.reasons) == (False, ("place",))
        assert what_the_kernel_did(worker, log) is False
