"""What changed, from logs and snapshots."""

from __future__ import annotations

import gzip
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from triage.insight.changes.packages import kind_of, narrowed, package_changes, words
from triage.insight.changes.revert import fixes_after
from triage.insight.changes.scan import between, projects, scan
from triage.model import Change, Snapshot

LOG = """\
2026-11-20 10:00:01 startup archives unpack
2026-11-20 10:00:01 upgrade php8.2-cli:amd64 8.2.35-1~deb12u1 8.2.36-1~deb12u1
2026-11-20 10:00:01 status half-configured php8.2-cli:amd64 8.2.35-1~deb12u1
2026-11-20 10:00:02 upgrade php8.2-common:amd64 8.2.35-1~deb12u1 8.2.36-1~deb12u1
2026-11-20 10:00:03 upgrade tzdata:all 2025a 2026b
2026-11-21 09:00:00 install php-redis:amd64 <none> 5.3.7
"""


def log(root: Path, text: str = LOG) -> Path:
    folder = root / "var/log"
    folder.mkdir(parents=True)
    (folder / "dpkg.log").write_text(text)
    with gzip.open(folder / "dpkg.log.2.gz", "wt") as old:
        old.write("2026-01-02 03:04:05 remove php8.2-xdebug:amd64 3.2.0 <none>\n")
    return folder


def test_a_run_of_dpkg_is_one_change(tmp_path: Path) -> None:
    removed, upgraded, installed = package_changes("web-1", log(tmp_path))

    assert (removed.kind, removed.what) == ("extension", "php8.2-xdebug 3.2.0 removed")
    assert upgraded.kind == "php"
    assert upgraded.what == "php8.2-cli, php8.2-common 8.2.35-1~deb12u1 → 8.2.36-1~deb12u1; tzdata 2025a → 2026b"
    assert datetime.fromtimestamp(upgraded.time).isoformat() == "2026-11-20T10:00:03"
    assert (installed.kind, installed.packages) == ("extension", {"php-redis": (None, "5.3.7")})


def test_only_packages_the_process_had_files_of_count(tmp_path: Path) -> None:
    _, upgraded, installed = package_changes("web-1", log(tmp_path))
    mapped = frozenset({"php8.2-cli", "libc6"})

    kept = narrowed(upgraded, mapped)

    assert kept is not None
    assert kept.packages == {"php8.2-cli": ("8.2.35-1~deb12u1", "8.2.36-1~deb12u1")}
    assert narrowed(installed, mapped) is None
    assert narrowed(installed, frozenset()) == installed  # nothing is known of the process: nothing is ruled out


def test_what_a_package_means_to_php() -> None:
    names = ("php8.2-fpm", "php8.2-common", "libapache2-mod-php8.2", "php8.2-mbstring", "php-redis", "php8.2-xdebug",
             "linux-image-6.1.0-37-amd64", "libpcre2-8-0")  # fmt: skip
    assert [kind_of(name) for name in names] == [
        "php", "php", "php", "php", "extension", "extension", "kernel", "library",
    ]  # fmt: skip


def test_many_packages_are_said_shortly() -> None:
    packages = {f"lib{at}": ("1", "2") for at in range(7)}
    assert words(packages) == "lib0, lib1, lib2, lib3 and 3 more 1 → 2"


def test_hostile_and_broken_logs_give_what_can_be_read(tmp_path: Path) -> None:
    folder = log(tmp_path, "2026-11-20 10:00:01 upgrade a:amd64 1 2\n\x00\xff garbage\n2026-99-99 upgrade\n")
    (folder / "dpkg.log.3.gz").write_bytes(b"\x1f\x8b cut off")

    assert [change.what for change in package_changes("h", folder)] == ["php8.2-xdebug 3.2.0 removed", "a 1 → 2"]


def test_settings_restarts_and_boots_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "etc/php/8.2/fpm/pool.d").mkdir(parents=True)
    pool = tmp_path / "etc/php/8.2/fpm/pool.d/www.conf"
    pool.write_text("[www]\n")
    os.utime(pool, (1_700_000_000, 1_700_000_000))
    (tmp_path / "var/log").mkdir(parents=True)
    (tmp_path / "var/log/php8.2-fpm.log").write_text("[24-Nov-2026 08:00:00] NOTICE: ready to handle connections\n[x")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu 1\nbtime 1699990000\n")

    found = scan("web-1", root=tmp_path)

    assert [(change.kind, change.what) for change in found] == [
        ("reboot", "the machine was started"),
        ("pool", "/etc/php/8.2/fpm/pool.d/www.conf written"),
        ("restart", "php-fpm started or reloaded (php8.2-fpm.log)"),
    ]


def test_a_project_tells_of_its_deploys(tmp_path: Path) -> None:
    for argv in (
        ["git", "init", "-q"],
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
        ["git", "tag", "v1.2"],
    ):  # fmt: skip
        subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "composer.lock").write_text("{}")
    (tmp_path / "public").mkdir()

    assert projects([str(tmp_path / "public/index.php")]) == [tmp_path]
    found = scan("h", [str(tmp_path / "public/index.php")], root=tmp_path / "empty")
    assert sorted(change.kind for change in found) == ["composer", "deploy", "deploy"]
    assert any(change.what == f"{tmp_path}: tag v1.2" for change in found)


def snapshot(day: int, **options: str) -> Snapshot:
    moment = datetime(2026, 11, day, tzinfo=UTC)
    return Snapshot(
        host="web-1", pool="www", sapi="fpm-fcgi", version="8.2.36", options=options, extensions={"Core": "8.2.36"},
        libraries={}, first_seen=moment, last_seen=moment + timedelta(hours=20),
    )  # fmt: skip


def test_snapshots_show_which_setting_changed() -> None:
    old, new = snapshot(20, memory_limit="128M"), snapshot(21, memory_limit="128M", **{"opcache.jit": "tracing"})

    (change,) = between([new, old])

    assert change == Change(
        time=new.first_seen.timestamp(), kind="ini", what="pool www: opcache.jit: default → tracing",
        source="triage baseline", host="web-1", pool="www", options={"opcache.jit": (None, "tracing")},
    )  # fmt: skip


def test_security_fixes_that_a_downgrade_loses() -> None:
    debian = (
        "php8.2 (8.2.36-1~deb12u1) bookworm-security; urgency=high\n  * CVE-2026-1 CVE-2026-2\n\n"
        "php8.2 (8.2.35-1~deb12u1) bookworm-security; urgency=high\n  * CVE-2025-9\n"
    )
    news = "12 Nov 2026, PHP 8.2.36\n- Core: Fixed CVE-2026-3\n\n01 Oct 2026, PHP 8.2.35\n- CVE-2025-8\n"

    assert fixes_after(debian, "8.2.35-1~deb12u1") == ["CVE-2026-1", "CVE-2026-2"]
    assert fixes_after(news, "8.2.35-1~deb12u1") == ["CVE-2026-3"]
    assert fixes_after(news, "8.2.1-1") == []
