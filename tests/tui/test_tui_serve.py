"""The interface in a browser: only with the token, only from this machine, and nothing is run there."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.tui.driver import store_at
from tests.tui.samples import one


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address that `triage tui --serve` prints."""
    with store_at(tmp_path) as store:
        one(store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "triage", "tui", "--serve", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--store", str(tmp_path / "triage.db")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    told = process.stderr.readline().split()[1]
    _await(port)
    yield told
    process.terminate()
    process.wait(timeout=20)
    process.stderr.close()


def _await(port: int) -> None:
    """It says where it will be before it is there: a person is slower than that, a test on a busy machine is not."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError("nobody listens")


def test_a_browser_needs_the_token(address: str) -> None:
    base, _, token = address.partition("?token=")
    assert len(token) >= 32

    async def status(session: aiohttp.ClientSession, url: str, **headers: str) -> int:
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status

    async def run() -> None:
        timeout = aiohttp.ClientTimeout(total=60)
        jar = aiohttp.CookieJar(unsafe=True)  # it otherwise takes no cookie from an address of digits
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=jar) as session:
            for path in ("", "ws", "static/css/xterm.css", "?token=guess"):
                assert await status(session, base + path) == 403
            assert await status(session, address, Host="evil.example") == 403
            assert await status(session, address, Origin="http://evil.example") == 403
            assert await status(session, address) == 302
            assert await status(session, base) == 200
            assert await status(session, base, Origin="http://evil.example") == 403
            async with session.ws_connect(f"{base}ws?width=90&height=24") as page:
                seen = b""
                while b"memset" not in seen:
                    message = await page.receive(timeout=60)
                    if message.type is aiohttp.WSMsgType.BINARY:
                        seen += message.data
                    assert message.type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), seen
            with socket.socket() as other:  # nobody listens beyond loopback
                other.settimeout(2)
                port = int(base.rsplit(":", 1)[1].rstrip("/"))
                mine = socket.gethostbyname(socket.gethostname())
                if not mine.startswith("127."):
                    assert other.connect_ex((mine, port)) != 0

    asyncio.run(run())
