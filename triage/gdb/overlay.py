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
    """Grows as cores come by, so that files GDB has read once keep their name.

    `root` leads to a folder with all files, or, for a core of which only a few are needed, to one with
    those alone: GDB opens and takes apart every file it finds, for each core anew.
    """

    def __init__(self, folder: Path, mode: int = 0o700) -> None:
        self._folder = folder
        self._mode = mode
        self._generation = 0
        self._links: dict[str, Path] = {}
        self._few: dict[frozenset[Path], Path] = {}
        self._shown: Path | None = None

    @property
    def root(self) -> Path:
        """The folder to give as sysroot."""
        return self._folder / f"root{self._generation}"

    @property
    def _all(self) -> Path:
        return self._folder / f"all{self._generation}"

    def hold(self, files: Mapping[str, Path], named: Collection[str] | None = None) -> None:
        """Make each path of the process lead to its file; a changed answer begins a new folder.

        So does a path that is not proven this time. Where it is known which paths the core names at
        all (`named`), what other cores have beside them may stay: this one does not ask for it.
        """
        if any(self._links.get(path, file) != file for path, file in files.items()) or self._foreign(files, named):
            self._generation += 1
            self._links, self._few, self._shown = {}, {}, None
        self._make(self._all)
        for path, file in files.items():
            if path not in self._links and self._link(self._all, path, file):
                self._links[path] = file
        if self._shown is None:
            self.show_all()

    def show_all(self) -> None:
        """Let all paths be there."""
        self._show(self._all)

    def show(self, needed: Collection[str], files: Collection[Path]) -> None:
        """Let nothing be there but what these paths lead to, and these files."""
        chosen = frozenset((*(self._links[path] for path in needed if path in self._links), *files))
        if chosen not in self._few:
            place = self._folder / f"few{self._generation}-{len(self._few)}"
            self._make(place)
            for path, file in self._links.items():
                if file in chosen:
                    self._link(place, path, file)
            self._few[chosen] = place
        self._show(self._few[chosen])

    def _show(self, folder: Path) -> None:
        """Let `root` lead to a folder."""
        if self._shown == folder:
            return
        fresh = self._folder / "root.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.replace(self.root)
        self._shown = folder

    def _foreign(self, files: Mapping[str, Path], named: Collection[str] | None) -> bool:
        """Whether the folder holds a file this core asks for and did not prove."""
        return any(path not in files for path in self._links if named is None or path in named)

    def _make(self, folder: Path) -> None:
        """A folder, and those above it, each with our mode: mkdir gives it to the last one only."""
        missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            place.chmod(self._mode)

    def _link(self, root: Path, path: str, file: Path) -> bool:
        """Make a path below `root` lead to its file; whether there is a place for it."""
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        if not parts:
            return False
        place = root.joinpath(*parts)
        try:
            self._make(place.parent)
            place.symlink_to(file.absolute())
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            return False  # a damaged list of libraries names a folder, or something longer than a path
        return True
