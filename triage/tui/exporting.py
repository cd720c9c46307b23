"""Writing what is on screen into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triage.tui.copying import keep
from triage.tui.place import Place

if TYPE_CHECKING:
    from triage.report.exports import Export

_CHOICES = (
    ("m", "Markdown", "for a ticket or a chat"),
    ("h", "HTML", "a page for a browser; it loads nothing"),
    ("j", "JSON", "for programs: what --json prints"),
)


class Exporting(Place):
    """A screen that can be written into a file. Secrets are hidden in it as they are on screen."""

    def export(self) -> Export | None:
        """What is on screen; None while there is nothing. Called in a thread: it may read the store."""
        raise NotImplementedError

    def action_export(self) -> None:
        """Ask in which form, and for the file."""
        self.read(self.export, self._exported)

    def _exported(self, view: Export | None) -> None:
        if view is None:
            self.triage.say("there is nothing here to write yet")
            return
        self.triage.choose("Write this view as", _CHOICES, lambda key: self._form_chosen(view, key))

    def _form_chosen(self, view: Export, key: str | None) -> None:
        from triage.report.exports import FORMATS

        if key is None:
            return
        ending, write = FORMATS[key]
        path = str(Path.cwd() / f"{view.name}.{ending}")

        def answered(answer: str | None) -> None:
            if answer:
                self.write_file(write(view), answer)

        self.triage.ask("Write it into which file?", "readable by you alone", answered, value=path)

    def write_file(self, text: str, answer: str) -> None:
        """Keep a text in a private file, and say where."""
        try:
            path = keep(text, Path(answer).expanduser())
        except OSError as error:
            self.triage.say(f"{answer} cannot be written: {error.strerror}", wrong=True)
        else:
            self.triage.say(f"written to {path}; read it before you publish it")
