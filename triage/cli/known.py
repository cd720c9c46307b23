"""`triage known`: bugs of PHP that kill the PHP of this machine, and changelogs to look crashes up in."""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from triage.cli.common import Chosen, options, print_json, print_rows
from triage.config import data_folder
from triage.errors import EnvironmentLacks, UsageError
from triage.insight.known import news
from triage.insight.known.build import build as build_base
from triage.insight.known.build import interpreter
from triage.insight.known.phpt import SETTINGS
from triage.insight.known.source import source
from triage.insight.sandbox import Sandbox, own_user, told
from triage.model import KnownBug
from triage.pipeline import Pipeline
from triage.store.files import make_folder
from triage.text import clean, plural


@click.group()
def command() -> None:
    """What is known of PHP's bugs, for `triage why` to hold crashes against."""


@command.command()
@click.argument("what", metavar="SOURCE")
@click.option("--release", help="The Debian release to take the source package from (php8.4: trixie).")
@click.option("--php", default="php", show_default=True, help="The PHP to try the tests on.")
@click.option("--oldest", default=15_000, show_default=True, help="Tests of issues with this number and above.")
@click.option("--seconds", default=20.0, show_default=True, help="One test may take so long.")
@options
def build(what: str, release: str | None, php: str, oldest: int, seconds: float, chosen: Chosen) -> None:
    """Find the fixed bugs that still kill the PHP installed here.

    SOURCE is a newer PHP's source package (php8.4, fetched with apt), a .tar file of it or a folder. Its regression
    tests are run here, each in a sandbox: no network, the user nobody (when you are root), limits on time, memory
    and files. What kills this PHP is kept with its signature, the bug's number and the version that has the fix. Run
    it on a test machine with the same PHP packages as production; it takes some minutes.
    """
    tree = source(what, release)
    tried = interpreter(php)
    sandbox = Sandbox(seconds=seconds, user=own_user())
    for remark in told(sandbox):
        chosen.say(f"note: {remark}")
    if tree.news:
        _keep_news(tree.name, tree.news)
    bugs: dict[tuple[str, str], KnownBug] = {}
    with Pipeline(chosen.settings) as pipeline, chosen.open_store() as store:
        for bug in build_base(tree, tried, pipeline, sandbox, oldest=oldest, say=chosen.say):
            bugs.setdefault((bug.bug, bug.signature), bug)
            store.add_known_bugs([bug])
            chosen.say(f"{bug.bug} kills it: {bug.title}")
    if chosen.json:
        print_json([asdict(bug) for bug in bugs.values()])
    names = {bug.bug for bug in bugs.values()}
    chosen.say(f"kept: {plural(len(names), 'bug')} of {tree.name} that kill PHP {tried.version}")


@command.command("list")
@options
def list_(chosen: Chosen) -> None:
    """The bugs on file."""
    with chosen.open_store() as store:
        bugs = store.known_bugs()
    if chosen.json:
        print_json([asdict(bug) for bug in bugs])
        return
    rows = [(bug.bug, ",".join(bug.fixed), bug.killed, bug.title, bug.entry) for bug in bugs]
    print_rows(("bug", "fixed", "kills", "title", "changelog"), rows)


@command.command()
@click.argument("bug")
@options
def show(bug: str, chosen: Chosen) -> None:
    """The script and the settings with which a bug kills this PHP."""
    with chosen.open_store() as store:
        found = [one for one in store.known_bugs() if one.bug.lower() == bug.lower()]
    if not found:
        raise UsageError(f"no bug {bug!r} is on file", help="`triage known list` lists them.")
    if chosen.json:
        print_json([asdict(one) for one in found])
        return
    one = found[0]
    fixed = f"fixed in {', '.join(one.fixed)}" if one.fixed else "no changelog names the fix"
    print(f"# {one.bug}: {fixed}; kills PHP {one.killed}: {clean(one.title)}")
    shown = " ".join(f"-d '{clean(setting)}'" for setting in (*SETTINGS, *one.settings))
    print(f"# save as test.php on a test machine, then: php {shown} test.php")
    print(clean(one.script.rstrip("\n"), keep_newlines=True))


@command.command("news")
@click.argument("package_or_file")
@options
def news_(package_or_file: str, chosen: Chosen) -> None:
    """Keep a changelog to look crashes up in.

    PACKAGE_OR_FILE is a NEWS file of PHP (or changelog.gz), a .deb, or a package such as php8.2-common: then the
    one that apt would install is downloaded and read, not installed.
    """
    path = Path(package_or_file)
    if path.suffix == ".deb" and path.is_file():
        text = news.changelog_in(path)
    elif path.is_file():
        text = _plain(path)
    else:
        with tempfile.TemporaryDirectory(prefix="triage-news-") as folder:
            found = news.candidate(package_or_file, Path(folder))
        text = found[1] if found is not None else None
    if text is None or not news.entries(text):
        raise EnvironmentLacks(
            f"no changelog of PHP could be read from {package_or_file}",
            help="Name a package such as php8.2-common, or PHP's NEWS file.",
        )
    read = news.entries(text)
    _keep_news(path.name, text)
    chosen.say(f"kept: {plural(len(read), 'entry').replace('entrys', 'entries')}, PHP {read[-1].version} to "
               f"{read[0].version}")  # fmt: skip


def _plain(path: Path) -> str | None:
    """A file's text, unpacked where it is a .gz as Debian keeps changelogs."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError):
        return None
    return data.decode("utf-8", "replace")


def _keep_news(name: str, text: str) -> None:
    folder = data_folder() / "news"
    make_folder(folder)
    kept = folder / "".join(char if char.isalnum() or char in ".-" else "_" for char in name)
    kept.write_text(text, "utf-8")
    kept.chmod(0o600)
