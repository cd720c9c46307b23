"""The interface in a browser on this machine, through textual-serve.

textual-serve itself lets in whoever reaches the port, and on loopback that is every user of the machine. So the
page asks for a token, made anew each time, that stands in the address printed at the start; the browser keeps it
in a cookie. Only loopback is listened on.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import shlex
import sys
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from textual_serve.server import Server

_COOKIE = "triage_token"
_HOSTS = ("127.0.0.1", "localhost")


class GuardedServer(Server):
    """Lets in only who has the token, and only for a page of our own."""

    def __init__(self, command: str, port: int, token: str) -> None:
        super().__init__(command, host=_HOSTS[0], port=port, title="triage")
        self._token = token

    @property
    def address(self) -> str:
        """What to open in the browser."""
        return f"{self.public_url}/?token={self._token}"

    def initialize_logging(self) -> None:
        """Quiet: requests hold the token."""
        logging.basicConfig(level=logging.WARNING)

    async def on_startup(self, app: web.Application) -> None:
        """Say where it is."""
        print(f"Open {self.address}\nCtrl-C ends it. Only this machine can reach it.", file=sys.stderr, flush=True)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard())
        return app

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            # A name that is not ours: another site's page whose name was made to point here.
            if request.host.partition(":")[0] not in _HOSTS:
                raise web.HTTPForbidden(text="unknown host")
            origin = request.headers.get("Origin")
            if origin is not None and origin.partition("://")[2].partition(":")[0] not in _HOSTS:
                raise web.HTTPForbidden(text="unknown origin")
            if self._is_ours(request.query.get("token", "")):
                answer = web.HTTPFound("/")
                answer.set_cookie(_COOKIE, self._token, httponly=True, samesite="Strict")
                raise answer
            if not self._is_ours(request.cookies.get(_COOKIE, "")):
                raise web.HTTPForbidden(text="The address triage printed has a token: open that one.")
            return await handler(request)

        return guard

    def _is_ours(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())


def serve(arguments: Sequence[str], port: int) -> None:
    """Serve until Ctrl-C. `arguments` are those of `triage tui` for the process behind each page.

    Raises OSError when the port is taken.
    """
    os.environ["TRIAGE_SERVED"] = "1"  # the processes behind the pages neither suspend nor run programs
    command = shlex.join([sys.executable, "-m", "triage", "tui", *arguments])
    GuardedServer(command, port, secrets.token_urlsafe(24)).serve()
