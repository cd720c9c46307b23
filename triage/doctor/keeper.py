"""The program that takes the cores: is it there, and does its configuration let it keep them whole?"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from triage.doctor.check import Check, Grade
from triage.doctor.host import Host, byte_count
from triage.doctor.processes import Process
from triage.text import clean, size

_NAME = "core keeper"
_DEFAULT = 2 << 30
"""ProcessSizeMax and ExternalSizeMax of systemd before 254; later ones have more."""
_APPORT_LOG = Path("/var/log/apport.log")
_REFUSED = re.compile(r"(?i)(ignoring|does not belong|not a package|unpackaged|disabled|already running).*")


def check(host: Host, process: Process) -> Check:
    """Whether the keeper would keep a core of this process."""
    program, handler = host.pattern.program, host.pattern.handler
    if program is None:
        return Check(name=_NAME, grade=Grade.FAIL, says="kernel.core_pattern is a bare |: all are lost", fix=_FILE)
    if not host.contained and not os.access(program, os.X_OK):
        says = f"kernel.core_pattern hands cores to {program}, which is not there: every core is lost"
        return Check(name=_NAME, grade=Grade.FAIL, says=says, fix=_FILE)
    if handler == "systemd-coredump":
        return _systemd(host.keeper, process)
    if handler == "apport":
        return _apport(host.keeper)
    if handler is None:
        says = f"cores go to {program}, a program not known here: ask its makers where it keeps them, and how large"
        return Check(name=_NAME, grade=Grade.WARN, says=says)
    return Check(name=_NAME, grade=Grade.PASS, says=f"cores go to {handler} ({program})")


_FILE = (
    "echo 'kernel.core_pattern = /var/lib/cores/core.%e.%p.%t' > /etc/sysctl.d/60-cores.conf && sysctl --system",
)


def _systemd(settings: Mapping[str, str], process: Process) -> Check:
    storage = settings.get("Storage", "external")
    if storage not in ("external", "journal"):
        says = f"systemd-coredump is told Storage={storage}: it logs crashes and keeps no core"
        return Check(name=_NAME, grade=Grade.FAIL, says=says, fix=_setting("Storage=external"))
    for name in ("ProcessSizeMax", "ExternalSizeMax" if storage == "external" else "JournalSizeMax"):
        most = byte_count(settings[name]) if settings.get(name) else _DEFAULT
        if most is not None and most < process.resident:
            says = f"systemd-coredump cuts cores off at {name}={size(most)}; one would need {size(process.resident)}"
            return Check(name=_NAME, grade=Grade.FAIL, says=says, fix=_setting(f"{name}=32G"))
    most = byte_count(settings["MaxUse"]) if settings.get("MaxUse") else None
    if most is not None and most < process.resident:
        says = f"all cores together may take MaxUse={size(most)}: less than one of this process"
        return Check(name=_NAME, grade=Grade.FAIL, says=says, fix=_setting("MaxUse=20G"))
    says = "cores go to systemd-coredump: triage batch /var/lib/systemd/coredump"
    return Check(name=_NAME, grade=Grade.PASS, says=says)


def _setting(line: str) -> tuple[str, ...]:
    file = "/etc/systemd/coredump.conf.d/triage.conf"
    return (f"mkdir -p {file.rsplit('/', 1)[0]} && printf '[Coredump]\\n{line}\\n' > {file}",)


def _apport(settings: Mapping[str, str]) -> Check:
    if settings.get("enabled", "1").strip("\"'") == "0":
        fix = ("in /etc/default/apport:  enabled=1", "systemctl restart apport")
        return Check(name=_NAME, grade=Grade.FAIL, says="apport is switched off: it keeps no core", fix=fix)
    said = _last_refusal()
    if said:
        wide = ("printf '[main]\\nunpackaged=true\\n' > ~/.config/apport/settings   # root's, for services too",)
        says = f"apport refused a crash lately: {said}"
        return Check(name=_NAME, grade=Grade.WARN, says=says, fix=wide)
    says = "cores go to apport, which ignores programs that come in no package: triage batch /var/crash"
    return Check(name=_NAME, grade=Grade.PASS, says=says)


def _last_refusal() -> str | None:
    with suppress(OSError):
        for line in reversed(_APPORT_LOG.read_text(errors="backslashreplace")[-65536:].splitlines()):
            found = _REFUSED.search(line)
            if found:
                return clean(found[0], limit=160)
    return None
