"""php-fpm serving one request that crashes its worker."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.php import Case, Made
from tests.lab.worker import serving

CASE = Case(name="fpm-request", script="request.php")
URI = "/products/17?id=17&token=hunter2"


def find_fpm() -> str | None:
    """The php-fpm on this machine."""
    folders = ("/usr/sbin", "/usr/bin", "/usr/local/sbin")
    found = [path for folder in folders for path in sorted(Path(folder).glob("php-fpm*"))]
    return str(found[-1]) if found else shutil.which("php-fpm")


def serve_and_crash(program: str, folder: Path) -> Made:
    """Start the server in `folder`, ask for the page, and take the worker's core.

    Raises:
        NoCrash: when the worker left no core.
    """
    with serving(program, folder, None, ()) as workers:
        query = {"REQUEST_URI": URI, "QUERY_STRING": URI.split("?")[1]}
        return workers.crash(CASE, folder / f"{CASE.name}.core", query)
