"""The report as a mail, handed to the system's sendmail."""

from __future__ import annotations

import os
import shutil
import subprocess
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from triage.errors import EnvironmentLacks, UsageError
from triage.text import clean

_PLACES = ("/usr/sbin/sendmail", "/usr/lib/sendmail")
_SECONDS = 60


def send(to: tuple[str, ...], subject: str, text: str, html: str, program: str | None = None) -> None:
    """Send one mail with both forms of the report.

    Raises:
        UsageError: for an address with a line break in it.
        EnvironmentLacks: when there is no sendmail, or it refuses.
    """
    message = EmailMessage()
    try:
        message["To"] = ", ".join(to)
        message["Subject"] = clean(subject, limit=120)
    except ValueError as error:
        raise UsageError(f"not a mail address: {', '.join(to)!r}") from error
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid("triage")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    _hand_over(message.as_bytes(), program)


def _hand_over(mail: bytes, chosen: str | None) -> None:
    program = (
        chosen or next((place for place in _PLACES if os.access(place, os.X_OK)), None) or shutil.which("sendmail")
    )
    help_ = "Install a mail server (apt install postfix), or let cron mail what triage prints: leave --sendmail out."
    if program is None:
        raise EnvironmentLacks("there is no sendmail here: the report was not sent", help=help_)
    try:
        done = subprocess.run([program, "-t", "-i"], input=mail, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentLacks(f"{program} could not be run: {error}; the report was not sent", help=help_) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()[-200:]
        raise EnvironmentLacks(
            f"{program} refused the report (status {done.returncode}): {said}",
            help="It is told again by the next run.",
        )
