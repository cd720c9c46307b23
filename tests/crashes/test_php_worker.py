"""What a core tells of a php-fpm worker and its request, and what it never tells: the secrets in it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.crashes.conftest import of_suite
from tests.lab.fpm import find_fpm
from tests.lab.suites import SUITES, Suite
from tests.lab.worker import serving
from triage.cli.main import triage

pytestmark = [pytest.mark.php, pytest.mark.gdb]

URL, POST, COOKIE, HEADER, VARIABLE = "URLhunter2", "POSThunter3", "COOKIEhunter4", "HEADERhunter5", "ENVhunter6"
BODY = f"card={POST}&count=3".encode()
REQUEST = {
    "REQUEST_METHOD": "POST",
    "REQUEST_URI": f"/pay/17?token={URL}&die=1",
    "QUERY_STRING": f"token={URL}&die=1",
    "HTTP_COOKIE": f"session={COOKIE}",
    "HTTP_AUTHORIZATION": f"Bearer {HEADER}",
    "HTTP_HOST": "shop.example",
    "CONTENT_TYPE": "application/x-www-form-urlencoded",
    "CONTENT_LENGTH": str(len(BODY)),
}
POOL = f"env[SHOP_KEY] = {VARIABLE}\n"


def fourth_request_dies(program: str, root: Path | None, folder: Path) -> Path:
    """The core of a worker that served three requests and died in the fourth."""
    with serving(program, folder, root, (), POOL) as workers:
        oracle = workers.run / "pid"
        for _ in range(3):
            answer = workers.ask("tokens.php", {"TRIAGE_ORACLE": f"{workers.inside}/pid"})
            assert "served" in answer
        begun = time.time()
        workers.ask("tokens.php", {**REQUEST, "TRIAGE_ORACLE": f"{workers.inside}/pid"}, BODY)
        core = workers.core(int(oracle.read_text()), begun)
        return Path(shutil.move(core, folder / "worker.core"))


def run(*arguments: str) -> str:
    done = CliRunner().invoke(triage, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout + done.stderr


def tells_the_worker(crash: dict[str, Any]) -> None:
    worker, request = crash["runtime"]["worker"], crash["runtime"]["request"]
    assert (worker["pool"], worker["requests"], worker["stage"]) == ("www", 4, "running")
    assert worker["started"] <= worker["request_started"] <= crash["time"].replace("Z", "+00:00")
    assert (request["method"], request["uri"]) == ("POST", "/pay/17")
    told = request["variables"]
    assert told["_GET[token]"] == "string(10)"
    assert told["_POST[card]"] == "string(11)"
    assert told["_POST[count]"] == "string(1)"
    assert told["_COOKIE[session]"] == "string(13)"
    assert told["_SERVER[HTTP_HOST]"] == "shop.example"
    assert told["_SERVER[HTTP_AUTHORIZATION]"] == "string(20)"


def program() -> str:
    found = find_fpm()
    if found is None:
        pytest.skip("no php-fpm here: apt install php-fpm")
    return found


def test_the_worker_and_its_request(tmp_path: Path) -> None:
    core = fourth_request_dies(program(), None, tmp_path)
    tells_the_worker(json.loads(run("show", str(core), "--json")))


def test_no_secret_is_shown_or_stored(tmp_path: Path) -> None:
    core = fourth_request_dies(program(), None, tmp_path)
    store = tmp_path / "store" / "triage.db"
    store.parent.mkdir()
    texts = [
        run("show", str(core), "--json"),
        run("show", str(core), "-v"),
        run("show", str(core), "--values"),
        run("batch", str(core), "--store", str(store), "--json"),
        run("clusters", "--store", str(store), "--json"),
    ]
    written = b"".join(path.read_bytes() for path in sorted(store.parent.iterdir()))
    for secret in (URL, POST, COOKIE, HEADER, VARIABLE):
        assert [secret in text for text in texts] == [False] * len(texts)
        assert secret.encode() not in written
        assert secret.encode() in core.read_bytes()  # it was there to be found


@pytest.mark.suites
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.name}-{suite.php}")
def test_the_worker_of_other_versions(suite: Suite, tmp_path: Path) -> None:
    root = of_suite(suite).root
    core = fourth_request_dies(f"/usr/sbin/php-fpm{suite.php}", root, tmp_path)
    tells_the_worker(json.loads(run("show", str(core), "--json", "--sysroot", str(root))))
