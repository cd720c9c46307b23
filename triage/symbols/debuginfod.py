"""Debug files from a debuginfod server, when one was named: never by itself.

A server learns which builds run here, so nobody is asked by default, and DEBUGINFOD_URLS alone does not
count as a wish. What comes is kept, and used only when it is that very build.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from triage.config import cache_folder
from triage.text import clean

_SECONDS = 15.0
_LARGEST = 4 << 30
_URL = re.compile(r"https?://\S+")
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


class Debuginfod:
    """Asks the servers in order; a server that does not answer is not asked again in this run."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = [url.rstrip("/") for url in urls if _URL.fullmatch(url)]
        self._missing: set[tuple[str, str]] = set()
        self.failures: list[str] = []

    def fetch(self, build_id: str, kind: str) -> Path | None:
        """The file of a build: `executable` or `debuginfo`. None when no server has it."""
        if not _BUILD_ID.fullmatch(build_id) or (build_id, kind) in self._missing:
            return None
        target = cache_folder() / "debuginfod" / build_id / kind
        if target.is_file():
            return target
        for url in list(self._urls):
            if self._download(f"{url}/buildid/{build_id}/{kind}", url, target):
                return target
        self._missing.add((build_id, kind))
        return None

    def _download(self, address: str, server: str, target: Path) -> bool:
        temporary = None
        try:
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310 — http(s) only, see _URL
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor, temporary = tempfile.mkstemp(dir=target.parent)
                with os.fdopen(descriptor, "wb") as out:
                    shutil.copyfileobj(_Bounded(answer), out, 1 << 20)
            Path(temporary).replace(target)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                self._give_up(server, f"it answered {error.code}")
            return False
        except (OSError, ValueError) as error:
            self._give_up(server, str(error))
            return False
        else:
            return True
        finally:
            if temporary is not None:
                with suppress(OSError):
                    Path(temporary).unlink()  # gone already when all went well

    def _give_up(self, server: str, why: str) -> None:
        self._urls.remove(server)
        self.failures.append(f"the debuginfod server {clean(server)} is not asked any more: {clean(why, limit=200)}")


class _Bounded:
    """A stream that ends with an error when it is too long."""

    def __init__(self, stream: http.client.HTTPResponse) -> None:
        self._stream = stream
        self._left = _LARGEST

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it sent more than 4 GB")
        return data
