"""The folder of links that is GDB's view of the crashed machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.gdb.overlay import Overlay


def _tree(root: Path) -> dict[str, str]:
    return {f"/{path.relative_to(root)}": str(path.readlink()) for path in root.rglob("*") if path.is_symlink()}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("php", "libc", "other"):
        (folder / name).write_text(name)
    return {name: folder / name for name in ("php", "libc", "other")}


def test_each_name_leads_to_its_file(tmp_path: Path, files: dict[str, Path]) -> None:
    overlay = Overlay(tmp_path)
    overlay.hold({"/usr/bin/php": files["php"], "/lib/libc.so.6": files["libc"]})
    assert _tree(overlay.root) == {"/usr/bin/php": str(files["php"]), "/lib/libc.so.6": str(files["libc"])}


def test_files_another_core_did_not_prove_are_gone(tmp_path: Path, files: dict[str, Path]) -> None:
    overlay = Overlay(tmp_path)
    overlay.hold({"/usr/bin/php": files["php"], "/lib/libc.so.6": files["libc"]})
    overlay.hold({"/usr/bin/php": files["php"]})
    assert _tree(overlay.root) == {"/usr/bin/php": str(files["php"])}
    overlay.hold({"/usr/bin/php": files["other"]})
    assert _tree(overlay.root) == {"/usr/bin/php": str(files["other"])}


@pytest.mark.parametrize(
    "strange", ["/usr/bin", "/usr/bin/php/below", "/", "//", "/../..", "/" + "x" * 5000, "/" + "y/" * 3000 + "z"]
)
def test_names_of_a_damaged_core(tmp_path: Path, files: dict[str, Path], strange: str) -> None:
    """They do no harm: nothing is made outside of the folder, and the sound names are still there."""
    before = sorted(tmp_path.iterdir())
    overlay = Overlay(tmp_path)
    overlay.hold({"/usr/bin/php": files["php"], strange: files["other"]})
    assert _tree(overlay.root) == {"/usr/bin/php": str(files["php"])}
    assert sorted(tmp_path.iterdir()) == sorted([*before, overlay.root, tmp_path / overlay.root.readlink()])
    overlay.hold({"/usr/bin/php": files["php"], strange: files["other"]})  # and a second time


def test_only_what_a_core_needs_is_shown(tmp_path: Path, files: dict[str, Path]) -> None:
    overlay = Overlay(tmp_path)
    names = {"/usr/bin/php": files["php"], "/lib/libc.so.6": files["libc"], "/usr/lib/libc.so.6": files["libc"],
             "/lib/other.so": files["other"]}  # fmt: skip
    overlay.hold(names)
    root = overlay.root
    overlay.show(["/lib/libc.so.6", "/lib/unproven.so"], [files["php"]])
    needed = {path: str(file) for path, file in names.items() if file != files["other"]}
    assert _tree(overlay.root) == needed  # under every name that leads to a needed file
    overlay.hold(names)  # the next core of the same files changes nothing by itself
    assert _tree(overlay.root) == needed
    overlay.show_all()
    assert _tree(overlay.root) == {path: str(file) for path, file in names.items()}
    assert overlay.root == root  # GDB keeps what it read of a file by the file's name
    overlay.hold({**names, "/usr/bin/php": files["other"]})
    assert overlay.root != root
    assert _tree(overlay.root)["/usr/bin/php"] == str(files["other"])
