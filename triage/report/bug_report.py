"""A report of a crash in the form PHP's bug tracker asks for, in Markdown, fit to be published.

What could name a customer, a host or a secret is left out: request, arguments, host, pid; paths of
scripts are cut to their last two parts unless asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from triage.folding import Repeat, fold
from triage.model import Crash, Finding, Frame, Runtime
from triage.report.stack import frame_name
from triage.text import clean

_MOST_FRAMES = 60
_KEPT_PARTS = 2


def bug_report(crash: Crash, *, paths: bool = False) -> str:
    """The whole report. `paths` keeps the full paths of scripts."""
    return "\n".join(_Report(crash, paths=paths).lines()) + "\n"


class _Report:
    def __init__(self, crash: Crash, *, paths: bool) -> None:
        self._crash = crash
        self._paths = paths

    def lines(self) -> Iterator[str]:
        crash = self._crash
        title = crash.signature.title if crash.signature is not None else "crash"
        signal = crash.signal.name if crash.signal is not None else "a signal"
        yield f"<!-- Suggested title: {_comment(self._text(f'{signal}: {title}'))} -->"
        yield "<!-- Made by triage from a core dump. Please read it before you publish it. -->"
        yield "### Description"
        yield ""
        yield f"PHP died with {signal} while it ran (innermost call first):"
        yield from self._code()
        yield ""
        yield "Resulted in this output:"
        yield from _fenced([f"{signal}: the process was ended by the kernel"])
        yield ""
        yield "But I expected this output instead:"
        yield from _fenced(["(no crash; a script that reproduces it is not known yet)"])
        for head, body in self._sections():
            if body:
                yield ""
                yield f"### {head}"
                yield ""
                yield from body

    def _sections(self) -> Iterator[tuple[str, list[str]]]:
        runtime = self._crash.runtime
        yield "PHP Version", list(_fenced(_version(self._crash)))
        yield "Operating System", ["(please fill in: `lsb_release -ds; uname -srm`)"]
        yield "What the core shows", list(self._findings())
        yield "Backtrace", list(_fenced(self._stack()))
        yield "Instruction and registers", list(_fenced(self._registers()))
        if runtime is not None:
            yield "opcache and JIT", list(_opcache(runtime))
            yield "Settings that differ from the defaults", list(_fenced(_options(runtime)))
            yield "Extensions", list(_fenced(_extensions(runtime)))
        yield "Files on the stack", list(_fenced(self._modules()))
        yield "Doubts", [f"- {_inline(self._text(warning))}" for warning in self._crash.warnings]

    def _frames(self) -> Sequence[Frame]:
        thread = self._crash.crashed_thread
        return thread.frames if thread is not None else ()

    def _code(self) -> Iterator[str]:
        script = [frame for frame in self._frames() if frame.kind not in ("native", "gap")]
        lines = [f"{frame_name(frame, arguments=True)}   {self._place(frame)}".rstrip() for frame in script[:10]]
        yield from _fenced(lines or ["(no PHP code was running)"])

    def _findings(self) -> Iterator[str]:
        for finding in self._crash.findings:
            yield f"- **{_inline(self._text(finding.title))}** ({finding.confidence})"
            yield from (f"  - {_inline(self._text(item))}" for item in _publishable(finding))

    def _stack(self) -> Iterator[str]:
        at = 0
        for item in fold(self._frames()):
            if at >= _MOST_FRAMES:
                yield "… more frames"
                return
            if isinstance(item, Repeat):
                yield f"     {item.text}"
                continue
            yield f"#{at:<3} {self._frame(item)}"
            at += 1

    def _frame(self, frame: Frame) -> str:
        if frame.kind == "gap":
            return f"… {clean(frame.note or 'frames left out')}"
        if frame.kind != "native":
            return f"[PHP] {clean(frame_name(frame, arguments=True))} {self._place(frame)}".rstrip()
        where = frame.module.rsplit("/", 1)[-1] if frame.module else "no file"
        offset = f"+{frame.offset:#x}" if frame.offset is not None else ""
        line = f" at {frame.file}:{frame.line}" if frame.file else ""
        return clean(f"{frame_name(frame)} in {where}{offset}{line}")

    def _place(self, frame: Frame) -> str:
        return f"{self._path(frame.file)}:{frame.line}" if frame.file else ""

    def _path(self, path: str) -> str:
        parts = path.split("/")
        return clean(path if self._paths or len(parts) <= _KEPT_PARTS + 1 else "…/" + "/".join(parts[-_KEPT_PARTS:]))

    def _text(self, text: str) -> str:
        """A sentence with the paths of scripts cut."""
        return re.sub(r"/[^\s:'\"]+\.(?:php|phtml|inc|phar|phpt)\b", lambda found: self._path(found[0]), text)

    def _registers(self) -> Iterator[str]:
        crash = self._crash
        if crash.instruction:
            yield clean(crash.instruction)
        held = crash.registers.items()
        row = [f"{name:<4} {_value(value)}" for name, value in held if len(name) <= 3 and not name.endswith("s")]
        for at in range(0, len(row), 3):
            yield "   ".join(row[at : at + 3])

    def _modules(self) -> Iterator[str]:
        used = {frame.module for frame in self._frames() if frame.module}
        for module in self._crash.modules:
            if module.path in used:
                yield clean(f"{module.path}   build-id {module.build_id or 'unknown'}   symbols: {module.symbols}")


def _publishable(finding: Finding) -> Iterator[str]:
    """Evidence without numbers of processes and users."""
    return (item for item in finding.evidence if "pid" not in item)


def _version(crash: Crash) -> Iterator[str]:
    runtime = crash.runtime
    if runtime is None:
        yield f"no PHP: {clean(crash.executable or 'unknown program')}"
        return
    kind = "ZTS" if runtime.zts else "NTS"
    kind += " DEBUG" if runtime.debug else ""
    yield f"PHP {runtime.version or 'unknown'} ({runtime.sapi or 'unknown'}) ({kind})"
    yield f"build-id {crash.build_id or 'unknown'}"


def _opcache(runtime: Runtime) -> Iterator[str]:
    jit = "on: machine code made by the JIT is in the process" if runtime.jit else "off, or it has made no code"
    yield f"- opcache: {'on' if runtime.opcache is not None else 'off (no shared memory of it in the process)'}"
    yield f"- JIT: {jit}"
    for hook in runtime.hooks:
        yield f"- {_inline(hook.extension or hook.module)} took over {_inline(hook.name)}"


def _options(runtime: Runtime) -> Iterator[str]:
    return (clean(f"{name}={value if value is not None else ''}") for name, value in runtime.options.items())


def _extensions(runtime: Runtime) -> Iterator[str]:
    for name, version in runtime.extensions.items():
        yield clean(name if version in (None, runtime.version) else f"{name} {version}")


def _fenced(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """A code block; its fence is longer than any run of backticks in it."""
    body = [clean(line) for line in lines]
    longest = max((len(run) for line in body for run in re.findall(r"`+", line)), default=0)
    if not body:
        return
    fence = "`" * max(3, longest + 1)
    yield fence
    yield from body
    yield fence


def _value(value: int) -> str:
    """A register; one that holds text is not shown, since that may be part of a secret."""
    raw = value.to_bytes(8, "little")
    text = sum(32 <= byte < 127 for byte in raw) >= 7
    return "(holds text)      " if text else f"{value:#018x}"


def _comment(text: str) -> str:
    """Text that cannot end an HTML comment."""
    return clean(text).replace("--", "- -").replace(">", "»")


def _inline(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", clean(text))
