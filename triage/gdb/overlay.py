"""A folder that looks like the crashed machine's `/` and holds proven files only.

GDB opens whatever path a core names: a library of another build, whose wrong names it then
prints without a word, or a FIFO, on which it hangs for ever. With this folder as its sysroot it
finds each file under the name the process knew it by, and nothing else.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from pathlib import Path

_NO_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG)


class Overlay:
    """Grows as cores come by, so that files GDB has read once keep their name."""

    def __init__(self, folder: Path, mode: int = 0o700) -> None:
        self._folder = folder
        self._mode = mode
        self._generation = 0
        self._links: dict[str, Path] = {}

    @property
    def root(self) -> Path:
        """The folder to give as sysroot."""
        return self._folder / f"root{self._generation}"

    def hold(self, files: Mapping[str, Path], named: Collection[str] | None = None) -> None:
        """Make each path of the process lead to its file; a changed answer begins a new folder.

        So does a path that is not proven this time. Where it is known which paths the core names at
        all (`named`), what other cores have beside them may stay: this one does not ask for it.
        """
        if any(self._links.get(path, file) != file for path, file in files.items()) or self._foreign(files, named):
            self._generation += 1
            self._links = {}
        self._make(self.root)
        for path, file in files.items():
            if path not in self._links:
                self._link(path, file)

    def _foreign(self, files: Mapping[str, Path], named: Collection[str] | None) -> bool:
        """Whether the folder holds a file this core asks for and did not prove."""
        return any(path not in files for path in self._links if named is None or path in named)

    def _make(self, folder: Path) -> None:
        """A folder, and those above it, each with our mode: mkdir gives it to the last one only."""
        missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            place.chmod(self._mode)

    def _link(self, path: str, file: Path) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        if not parts:
            return
        place = self.root.joinpath(*parts)
        try:
            self._make(place.parent)
            place.symlink_to(file.absolute())
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            return  # a damaged list of libraries names a folder, or something longer than a path
        self._links[path] = file
