"""The commands of a debugging session: each takes words and gives lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from triage.debug.guide import Guide, Question
from triage.debug.opened import Opened
from triage.errors import TriageError
from triage.model.words import LANGUAGES
from triage.report.stack import frame_name, frame_place
from triage.runtimes.protocol import Inspection, nowhere
from triage.text import clean

_MOST_FRAMES = 300


class Answers:
    """Answers for one open core. No answer raises: what cannot be answered says why."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._last: Question | None = None

    @cached_property
    def commands(self) -> Mapping[str, Inspection]:
        """All commands by their full name, `php-bt` to `php-why`."""
        interpreter = self._opened.interpreter
        name = interpreter.name if interpreter is not None else "php"
        language = LANGUAGES.get(name, name)
        found = {
            f"{name}-bt": Inspection(
                "", f"native and {language} frames in one stack, {language} frames numbered", self._stack
            ),
            f"{name}-why": Inspection(
                "[QUESTION]", "the next question about this crash, answered; or the one you name", self._why
            ),
        }
        for word, inspection in interpreter.inspections().items() if interpreter is not None else ():
            found[f"{name}-{word}"] = inspection
        return found

    @cached_property
    def guide(self) -> Guide:
        """The questions about this crash."""
        where = self._opened.interpreter.read().heap_place if self._opened.interpreter is not None else nowhere
        return Guide(self._opened.crash, self._opened.core.memory, where)

    def answer(self, command: str, words: Sequence[str]) -> list[str]:
        """The lines that answer a command, safe to show."""
        inspection = self.commands.get(command)
        if inspection is None:
            return [f"there is no command {command}; known are {', '.join(self.commands)}"]
        try:
            return [clean(line) for line in inspection.run(words)]
        except TriageError as error:
            return [clean(line) for line in (error.message, error.help) if line]

    def _stack(self, words: Sequence[str]) -> Iterator[str]:
        thread = self._opened.crash.crashed_thread
        yield from self._opened.notes
        number = 0
        for frame in thread.frames[:_MOST_FRAMES] if thread is not None else ():
            if frame.kind in ("native", "gap"):
                mark = "     "
            else:
                mark, number = f"{number:>4} ", number + 1
            name = frame.note if frame.kind == "gap" else frame_name(frame, arguments=True)
            yield f"{mark}{frame.kind:<7} {name or ''}   {frame_place(frame) or ''}".rstrip()
        if thread is not None and thread.depth > _MOST_FRAMES:
            yield f"     … {thread.depth} frames in all"

    def _why(self, words: Sequence[str]) -> Iterator[str]:
        guide = self.guide
        why = next(name for name in self.commands if name.endswith("-why"))
        if words:
            question = guide.find(words[0])
            if question is None:
                yield "Questions: " + ", ".join(f"{item.word} ({item.text})" for item in guide.questions)
                return
        elif self._last is None:
            question = guide.questions[0]
        else:
            question = guide.after(self._last)
        if question is None:
            yield f"That was the last question. {why} what begins again."
            self._last = None
            return
        self._last = question
        yield question.text
        yield from question.answer
        following = guide.after(question)
        if following is not None:
            yield ""
            yield f"Next: {why}   ({following.text})   or {why} WORD: " + " ".join(
                item.word for item in guide.questions
            )
