"""What the doctor says and does beside its predictions: advice, keepers of cores, the probe."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.lab.fpm import find_fpm
from tests.lab.pools import Setup, running
from triage.cli.main import triage
from triage.config import Settings
from triage.doctor import Grade, Host, Process, examine, predict, read_process
from triage.doctor.host import systemd_settings
from triage.doctor.pattern import Pattern
from triage.doctor.pools import pools
from triage.doctor.probe import probe
from triage.doctor.processes import UNLIMITED

SYSTEMD = Pattern("|/bin/true/systemd-coredump %P %u")
_FPM = find_fpm()
_needs_fpm = pytest.mark.skipif(os.geteuid() != 0 or _FPM is None, reason="needs root and php-fpm")


def process(**changes: object) -> Process:
    good = Process(
        pid=os.getpid(), role="worker", pool="shop", configuration=None, executable="/usr/sbin/php-fpm8.2", user=33,
        group=33, groups=(33,), capabilities=0, limit=UNLIMITED, hard=UNLIMITED, file_limit=UNLIMITED, dumpable=True,
        filter=0x33, resident=100 << 20, name="php-fpm8.2", parent=1, replaced=(), container=None, other_mounts=False,
        unit="php8.2-fpm.service",
    )  # fmt: skip
    return replace(good, **changes)  # type: ignore[arg-type]


def host(pattern: str, suid_dumpable: int = 0, **keeper: str) -> Host:
    return Host(pattern=Pattern(pattern), suid_dumpable=suid_dumpable, contained=False, keeper=keeper)


def failing(of: Process, on: Host) -> dict[str, tuple[str, tuple[str, ...]]]:
    checks = examine([of], on)[0].checks
    return {check.name: (check.says, check.fix) for check in checks if check.grade is Grade.FAIL}


def test_a_pattern_is_expanded_as_the_kernel_does() -> None:
    values = {"p": "42", "e": "php/x", "t": "0", "E": "/usr/sbin/php"}
    assert Pattern("core").expand(values) == "core"
    assert Pattern("core", uses_pid=True).expand(values) == "core.42"
    assert Pattern("core.%p", uses_pid=True).expand(values) == "core.42"
    assert Pattern("/c/%e.%E.%%.%z%").expand(values) == "/c/php!x.!usr!sbin!php.%."


@pytest.mark.parametrize(
    ("text", "handler"),
    [
        ("|/usr/lib/systemd/systemd-coredump %P", "systemd-coredump"),
        ("|/usr/share/apport/apport -p%p", "apport"),
        ("|/usr/libexec/abrt-hook-ccpp %s", "abrt"),
        ("|/opt/triage/bin/triage collect %P", "triage"),
        ("|/usr/local/bin/own %p", None),
        ("/var/cores/core.%p", None),
    ],
)
def test_keepers_are_known_by_their_program(text: str, handler: str | None) -> None:
    assert Pattern(text).handler == handler


def test_the_kernels_rules_for_pipes() -> None:
    """The limit does not count there, but for 1; dumpable does."""
    pipe = host("|/bin/true %p")
    assert predict(process(limit=0), pipe).dumps is True
    assert predict(process(limit=1), pipe).reasons == ("pipe-limit",)
    assert predict(process(dumpable=False), pipe).reasons == ("not-dumpable",)
    assert predict(process(dumpable=False), host("|/bin/true %p", 2)).dumps is True
    assert predict(process(dumpable=False), host("core", 2)).reasons[0] == "relative-suid"


def test_fixes_name_the_service_and_the_unit() -> None:
    master = process(role="master", pid=1, parent=0, hard=0, limit=0)
    worker = process(limit=0, hard=0, parent=1)
    reports = examine([master, worker], host("/nowhere/core.%p"))
    limit = next(check for check in reports[1].checks if check.name == "core limit")
    assert limit.fix == (
        "systemctl edit php8.2-fpm.service   # [Service] LimitCORE=infinity",
        "systemctl restart php8.2-fpm.service",
    )
    folder = next(check for check in reports[1].checks if check.name == "core folder")
    assert folder.grade is Grade.FAIL
    assert "install -d -m 2770 -o root -g www-data /var/lib/cores" in folder.fix


def test_systemd_coredumps_settings() -> None:
    pattern = "|/usr/lib/systemd/systemd-coredump %P"
    contained = replace(host(pattern), contained=True)
    assert failing(process(), contained) == {}
    says, fix = failing(process(), replace(contained, keeper={"Storage": "none"}))["core keeper"]
    assert says == "systemd-coredump is told Storage=none: it logs crashes and keeps no core"
    assert fix[0].endswith("> /etc/systemd/coredump.conf.d/triage.conf")
    says, _ = failing(process(), replace(contained, keeper={"ProcessSizeMax": "50M"}))["core keeper"]
    assert says == "systemd-coredump cuts cores off at ProcessSizeMax=52.4 MB; one would need 104.9 MB"
    assert failing(process(), replace(contained, keeper={"ProcessSizeMax": "infinity"})) == {}
    assert "not there" in failing(process(), host("|/nowhere/keeper %p"))["core keeper"][0]


def test_settings_are_read_with_drop_ins(tmp_path: Path) -> None:
    (tmp_path / "coredump.conf").write_text("[Coredump]\n#Storage=none\nProcessSizeMax=1G\n")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.conf").write_text("[Coredump]\nProcessSizeMax = 3G\n")
    assert systemd_settings((tmp_path / "coredump.conf", tmp_path / "d")) == {"ProcessSizeMax": "3G"}


def test_what_else_spoils_a_core() -> None:
    quiet = replace(host("|/bin/true"), contained=True)
    assert set(failing(process(filter=0x32), quiet)) == {"contents"}
    assert set(failing(process(filter=0x23), quiet)) == {"contents"}
    files = host("/tmp/core.%p")
    assert "cut off at 1.0 MB" in failing(process(limit=1 << 20), files)["core limit"][0]
    assert "RLIMIT_FSIZE" in failing(process(file_limit=1 << 20), files)["core limit"][0]
    replaced = examine([process(replaced=("/usr/lib/libz.so",))], quiet)[0]
    assert [check.name for check in replaced.checks if check.grade is Grade.WARN] == ["core keeper", "files"]


def test_pools_are_found_in_included_files(tmp_path: Path) -> None:
    (tmp_path / "pool.d").mkdir()
    (tmp_path / "fpm.conf").write_text(f"[global]\nlog_level = notice\ninclude = {tmp_path}/pool.d/*.conf\n")
    (tmp_path / "pool.d" / "www.conf").write_text("; no\n[www]\nuser = www-data ; yes\nphp_value[x] = 1\n[api]\n")
    found = pools(tmp_path / "fpm.conf")
    assert {name: pool.settings for name, pool in found.items()} == {
        "www": {"user": "www-data", "php_value[x]": "1"},
        "api": {},
    }
    assert found["www"].file == str(tmp_path / "pool.d" / "www.conf")
    assert pools(tmp_path / "missing") == {}


@_needs_fpm
@pytest.mark.php
@pytest.mark.gdb
def test_the_probe_crashes_a_worker_of_its_own(tmp_path: Path) -> None:
    """With production's settings: a pool that leaves cores gives the frames that ran, one that does not says so."""
    assert _FPM is not None
    for dumpable in (True, False):
        setup = Setup(name="x", rlimit_core="unlimited", dumpable=dumpable)
        with running(_FPM, setup, tmp_path / str(dumpable)) as (worker, log):
            master = read_process(worker.parent)
            assert master is not None
            (probed,) = probe(master, Settings())
            assert probed.passed is dumpable, probed.says
            assert "exited" not in log.read_text()  # production's worker was left alone
            if dumpable:
                assert probed.frames == ("triage_probe_inner", "triage_probe_outer", "{main}")
            else:
                assert "the kernel wrote no core" in probed.says[0]


@_needs_fpm
def test_the_command(tmp_path: Path) -> None:
    assert _FPM is not None
    with running(_FPM, Setup(name="x", inherited="0:0"), tmp_path / "pool") as (worker, _):
        result = CliRunner().invoke(triage, ["doctor", "--json"], catch_exceptions=False)
        text = CliRunner().invoke(triage, ["doctor"], catch_exceptions=False)
    assert (result.exit_code, text.exit_code) == (1, 1)
    reports = {report["pid"]: report for report in json.loads(result.stdout)["reports"]}
    assert reports[worker.pid]["prediction"]["dumps"] is False
    assert {"dumpable", "core limit"} <= {c["name"] for c in reports[worker.pid]["checks"] if c["grade"] == "FAIL"}
    assert "process.dumpable = yes" in text.stdout
    assert "=> A crash here leaves NO core." in text.stdout
