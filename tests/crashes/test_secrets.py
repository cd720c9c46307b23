"""A php-fpm request full of secrets dies; then everything the tool writes about it is searched for them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.crashes.test_php_worker import COOKIE, HEADER, POST, URL, VARIABLE, fourth_request_dies, program
from tests.tui.driver import Screen, drive
from triage.cli.main import triage as verbs
from triage.store import open_store

pytestmark = [pytest.mark.php, pytest.mark.gdb]

SECRETS = (URL, POST, COOKIE, HEADER, VARIABLE)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fourth_request_dies(program(), None, tmp_path_factory.mktemp("secrets"))


def triage(place: Path, *arguments: str, status: int = 0) -> str:
    """A run with folders of its own and a careless umask; what it printed."""
    environment = {
        "XDG_DATA_HOME": str(place / "data"), "XDG_CACHE_HOME": str(place / "cache"),
        "XDG_STATE_HOME": str(place / "state"), "TMPDIR": str(place / "tmp"), "TRIAGE_STORE": None,
    }  # fmt: skip
    before = os.umask(0)
    try:
        done = CliRunner(env=environment).invoke(verbs, list(arguments), catch_exceptions=False)
    finally:
        os.umask(before)
    assert done.exit_code == status, done.stderr
    return done.stdout + done.stderr


def screens(store: Path) -> str:
    """What the terminal interface shows of the first cluster and its crash, place by place."""
    seen: list[str] = []

    async def look(screen: Screen) -> None:
        seen.append(screen.text)
        for key in ("enter", "enter", "pagedown", "pagedown", "end", "tab", "escape", "question_mark"):
            await screen.press(key)
            seen.append(screen.text)

    with open_store(f"sqlite:///{store}") as opened:
        drive(opened, look, size=(140, 60))
    return "\n".join(seen)


def test_nothing_that_is_written_holds_a_secret(core: Path, tmp_path: Path) -> None:
    raw = core.read_bytes()
    assert all(secret.encode() in raw for secret in SECRETS)  # they are there to be found
    (tmp_path / "tmp").mkdir()
    texts = {"batch": triage(tmp_path, "batch", "--json", str(core))}
    (cluster,) = triage(tmp_path, "clusters").splitlines()[1:]
    name = cluster.split("\t")[0]
    for words in (
        *(("list", "--json"), ("list",), ("clusters", "--json"), ("show", str(core), "-v")),
        *(("show", str(core), "--json"), ("show", str(core), "--values"), ("explain", name, "--evidence")),
        *(("explain", name, "--json"), ("bug", str(core)), ("bug", str(core), "--paths"), ("why", name)),
        *(("report", "--since", "3650d", "--format", form) for form in ("text", "md", "html", "json", "prom")),
    ):
        texts[" ".join(words)] = triage(tmp_path, *words)
    triage(tmp_path, "pack", str(core), "--without-memory", "-o", str(tmp_path / "data" / "crash.pack"))
    store = tmp_path / "data" / "triage" / "triage.db"
    texts["tui"] = screens(store)
    assert "Cart" in texts["batch"] or "handle" in texts["show " + str(core) + " -v"]
    told = {name: [secret for secret in SECRETS if secret in text] for name, text in texts.items()}
    assert {name: found for name, found in told.items() if found} == {}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store in written
    leaks = {str(path): secret for path in written for secret in SECRETS if secret.encode() in path.read_bytes()}
    assert leaks == {}


def test_what_is_kept_is_for_its_owner_alone(core: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    triage(tmp_path, "batch", str(core))
    kept = [path for path in tmp_path.rglob("*") if path != tmp_path / "tmp"]
    own = tmp_path / "data" / "triage"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    modes = {str(path): oct(stat.S_IMODE(path.stat().st_mode)) for path in kept if path.is_file()}
    assert {path: mode for path, mode in modes.items() if mode != "0o600"} == {}
    assert list((tmp_path / "tmp").iterdir()) == []
