"""How this PHP is installed and run, so that advice can name the exact file and command."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from triage.model import Crash

_DEBIAN_FPM = re.compile(r"/usr/sbin/php-fpm(\d+\.\d+)$")
_DEBIAN_CLI = re.compile(r"/usr/bin/php(\d+\.\d+)$")
_DEBIAN_CGI = re.compile(r"/usr/bin/php-cgi(\d+\.\d+)$")
_IMAGE = re.compile(r"/usr/local/s?bin/php(-fpm)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Where settings go and what makes them count. `evidence` says what this is concluded from.

    `folder` holds ini files that are read last; `pools` php-fpm's pools; `restart` is `None` for a
    program that simply is started again. `packages` are Debian's, empty elsewhere.
    """

    name: str
    evidence: str
    version: str | None = None
    sapi: str | None = None
    folder: str | None = None
    pools: str | None = None
    restart: str | None = None
    packages: tuple[str, ...] = ()
    php: bool = True

    def setting(self, line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`(commands, commands that undo it)` for one ini line, for all of this PHP on one server."""
        if self.folder is None:
            return (f"put `{line}` into an ini file PHP reads (php --ini lists them)",), ("take the line out again",)
        file = f"{self.folder}/99-triage.ini"
        again = (self.restart,) if self.restart else ()
        return (f"echo '{line}' > {file}", *again), (f"rm {file}", *again)

    def without(self, extension: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The same for an extension switched off."""
        if not self.php:
            return (), ()
        again = (self.restart,) if self.restart else ()
        if self.packages and self.sapi:
            # The name comes from the core, and this line is meant to be pasted into a root's shell.
            way = f"-v {self.version} -s {self.sapi} {shlex.quote(extension.lower())}"
            return (f"phpdismod {way}", *again), (f"phpenmod {way}", *again)
        return (f"comment out the line that loads {extension} (php --ini lists the files)", *again), (
            "put the line back", *again,
        )  # fmt: skip


def service(crash: Crash) -> Service:
    """The service a crash's program belongs to, by the program's path alone."""
    path = crash.executable or ""
    if crash.runtime is not None and crash.runtime.name != "php":
        return Service(name=crash.runtime.language, evidence=f"the program is {path or 'unknown'}", php=False)
    seen = f"the program is {path or 'unknown'}"
    fpm = _DEBIAN_FPM.search(path)
    if fpm:
        version = fpm[1]
        return Service(
            name=f"php{version}-fpm", evidence=f"{seen}, which is Debian's package php{version}-fpm", version=version,
            sapi="fpm", folder=f"/etc/php/{version}/fpm/conf.d", pools=f"/etc/php/{version}/fpm/pool.d",
            restart=f"systemctl restart php{version}-fpm",
            packages=(f"php{version}-fpm", f"php{version}-common", f"php{version}-opcache"),
        )  # fmt: skip
    for pattern, sapi in ((_DEBIAN_CLI, "cli"), (_DEBIAN_CGI, "cgi")):
        found = pattern.search(path)
        if found:
            version = found[1]
            return Service(
                name=f"php{version}-{sapi}", evidence=f"{seen}, which is Debian's package php{version}-{sapi}",
                version=version, sapi=sapi, folder=f"/etc/php/{version}/{sapi}/conf.d",
                packages=(f"php{version}-{sapi}", f"php{version}-common", f"php{version}-opcache"),
            )  # fmt: skip
    image = _IMAGE.search(path)
    if image:
        return Service(
            name="PHP of a container image", evidence=f"{seen}, where PHP's official container images have it",
            sapi="fpm" if image[1] else "cli", folder="/usr/local/etc/php/conf.d",
            restart="restart the container" if image[1] else None,
        )  # fmt: skip
    return Service(name="PHP", evidence=seen)
