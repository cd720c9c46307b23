"""The code at a frame: PHP source from this machine, or machine code from the module's file."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from triage.config import Settings
from triage.debug.code import code_around
from triage.model import Crash, Frame
from triage.symbols import Finder
from triage.text import clean
from triage.tui import look
from triage.tui.settings import Ui, local_path

_AROUND = 3
_LARGEST = 4 << 20  # bytes: no script is larger, and a log or a device is not to be read


class Code:
    """Finds code; keeps what it found about modules' files."""

    def __init__(self, settings: Settings, ui: Ui) -> None:
        self._settings, self._ui = settings, ui
        self._finder = Finder(settings.sysroot, settings.debug_dirs)

    def of(self, crash: Crash, frame: Frame) -> Text:
        """The lines about the frame's place, or why there are none."""
        if frame.kind == "gap":
            return Text("frames are left out here", style=look.DIM)
        return self._machine(crash, frame) if frame.kind == "native" else self._script(frame)

    def _script(self, frame: Frame) -> Text:
        if frame.file is None or frame.line is None:
            return Text("a function built into PHP: it has no source in PHP", style=look.DIM)
        path = self._path(frame.file)
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                raise FileNotFoundError
            lines = path.read_text("utf-8", "backslashreplace").splitlines()
        except OSError:
            return Text(
                f"{clean(str(path))} cannot be read here; [source_map] in config.toml says where files lie",
                style=look.DIM,
            )
        if frame.line > len(lines):
            return Text(f"{clean(str(path))} has no line {frame.line}: it is not the file that ran", style=look.WARN)
        first = max(1, frame.line - _AROUND)
        text = Text()
        for number in range(first, min(len(lines), frame.line + _AROUND) + 1):
            here = number == frame.line
            text.append(f"{'▸' if here else ' '}{number:>5} ", style=look.DIM)
            text.append(clean(lines[number - 1].expandtabs(4), limit=300) + "\n", style="bold" if here else "")
        text.rstrip()
        return text

    def _path(self, file: str) -> Path:
        mapped = local_path(file, self._ui.source_map)
        root = self._settings.sysroot
        inside = root / file.lstrip("/") if root is not None else None
        return inside if inside is not None and inside.is_file() else mapped

    def _machine(self, crash: Crash, frame: Frame) -> Text:
        found = code_around(crash, frame, self._finder)
        if isinstance(found, str):
            return Text(clean(found), style=look.DIM)
        text = Text()
        for line in found:
            text.append(f"{'▸' if line.here else ' '} {line.offset:#10x}  ", style=look.DIM)
            text.append(clean(line.text) + "\n", style="bold" if line.here else "")
        text.rstrip()
        return text
