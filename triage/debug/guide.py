"""Questions about a crash, each answered from the core, with the next sensible one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from triage.corefile.protocol import AddressSpace
from triage.diagnose.wording import access
from triage.explain import Context, Statement, place, write_page
from triage.explain.page import Page
from triage.model import Crash, Finding, HeapPlace, Symbols, Topic
from triage.report.explain_text import statement_lines
from triage.report.lines import wrapped
from triage.report.stack import stack_lines

_COMPARED = (Symbols.FULL, Symbols.DYNAMIC, Symbols.NONE)
Where = Callable[[int], HeapPlace | None]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, by a short word, and its answer as lines of text."""

    word: str
    text: str
    answer: tuple[str, ...]


class Guide:
    """The questions that make sense for this crash, in an order that leads through it."""

    def __init__(self, crash: Crash, memory: AddressSpace, where: Where) -> None:
        self._crash = crash
        self._memory = memory
        self._where = where
        self._language = crash.runtime.language if crash.runtime is not None else "PHP"
        self._page: Page = write_page(crash, Context())
        self.questions: tuple[Question, ...] = tuple(question for question in self._all() if question.answer)

    def find(self, word: str) -> Question | None:
        """A question by its word or number (from 1)."""
        if word.isdigit() and 1 <= int(word) <= len(self.questions):
            return self.questions[int(word) - 1]
        return next((question for question in self.questions if question.word == word.lower()), None)

    def after(self, question: Question) -> Question | None:
        """The next sensible question; `None` after the last."""
        at = self.questions.index(question)
        return self.questions[at + 1] if at + 1 < len(self.questions) else None

    def _all(self) -> Iterator[Question]:
        """In an order that depends on what was found: damage is asked about before the address it shows in."""
        yield Question("what", "What happened?", tuple(self._part("What happened", 2)))
        yield Question("code", f"Which {self._language} code ran?", tuple(self._code()))
        damaged = self._finding("heap-damaged") is not None
        if damaged:
            yield self._memory_question()
        yield Question("access", "What exactly was refused?", tuple(self._access()))
        yield Question("address", "What is at that address, and where did it come from?", tuple(self._address()))
        if not damaged:
            yield self._memory_question()
        yield Question("when", "When in the request did it happen?", tuple(self._topic(Topic.CIRCUMSTANCE)))
        yield Question("files", "Are the files it ran from sound?", tuple(self._files()))
        yield Question("whose", "Whose fault is it, and is the top of the stack the cause?", tuple(self._whose()))
        yield Question("first", "What do I do first?", tuple(self._part("What to do first")))
        yield Question("prove", "How do I find out more?", tuple(self._part("How to find out more")))

    def _memory_question(self) -> Question:
        return Question("memory", f"Is {self._language}'s memory damaged?", tuple(self._heap()))

    def _part(self, head: str, most: int | None = None) -> Iterator[str]:
        part = next((part for part in self._page.parts if part.head == head), None)
        for statement in part.statements[:most] if part is not None else ():
            yield from (line.text for line in statement_lines(statement, evidence=True))

    def _code(self) -> Iterator[str]:
        for statement in (*place.code(self._crash), *place.request(self._crash)):
            yield from (line.text for line in statement_lines(statement))
        thread = self._crash.crashed_thread
        script = [frame for frame in thread.frames if frame.kind not in ("native", "gap")] if thread else []
        if script:
            yield ""
            yield from (line.text for line in stack_lines(script[:12], arguments=True))

    def _access(self) -> Iterator[str]:
        fault = self._crash.fault
        if fault is None:
            return
        yield f"  {access(fault)[0].upper()}{access(fault)[1:]}, at {fault.address:#x}."
        if self._crash.instruction:
            yield f"  The instruction (AT&T syntax): {' '.join(self._crash.instruction.split())}"
        if fault.operand is not None and fault.operand.base is not None:
            yield f"  {fault.operand.base} held {fault.operand.base_value or 0:#x}."
        if fault.load is not None:
            yield f"  {fault.load.register} had been read from {fault.load.address:#x} by `{fault.load.text}`."
        yield "  In GDB: x/5i $pc-12, info registers"

    def _address(self) -> Iterator[str]:
        fault = self._crash.fault
        if fault is None:
            return
        places = [("the refused address", fault.address)]
        if fault.load is not None:
            places.append(("the place the bad address was read from", fault.load.address))
        for what, address in places:
            region = self._memory.region_at(address)
            mapped = "nothing is mapped there" if region is None else f"in {region.path or 'memory of no file'}"
            yield f"  {what}, {address:#x}: {mapped}"
            block = self._where(address)
            if block is not None:
                state = "which is FREE" if block.free else f"which holds {block.what}"
                place = f"{block.offset} bytes into a block of {block.size} bytes"
                yield f"    {place} of {self._language}'s heap, {state}"
        if self._language == "PHP":
            yield "  In GDB: php-heap ADDRESS"

    def _heap(self) -> Iterator[str]:
        heap = self._crash.runtime.heap if self._crash.runtime is not None else None
        if heap is None:
            return
        if heap.state == "unknown":
            yield f"  It could not be checked: {heap.reason}"
        elif heap.state == "intact":
            text = (
                f"No: {heap.blocks} blocks in {heap.chunks} pieces of 2 MB were walked, and nothing contradicts "
                "itself. "
                "That finds broken records only: a value that was overwritten inside of a block looks sound."
            )
            yield from (line.text for line in wrapped(text))
        yield from self._topic(Topic.DAMAGE)
        yield from self._topic(Topic.CLUE)

    def _files(self) -> Iterator[str]:
        found = list(self._topic(Topic.SETUP))
        if not found:
            compared = sum(module.symbols in _COMPARED for module in self._crash.modules if module.build_id)
            found = [
                line.text
                for line in wrapped(
                    f"Nothing is known to be wrong with them: {compared} of {len(self._crash.modules)} files were "
                    "compared by their build-id, none was replaced while the process ran, and no library is loaded "
                    "in two versions."
                )
            ]
        yield from found

    def _whose(self) -> Iterator[str]:
        yield from self._topic(Topic.JUDGEMENT)

    def _topic(self, topic: Topic) -> Iterator[str]:
        for finding in self._crash.findings:
            if finding.topic is topic:
                told = Statement(f"{finding.title}. {finding.explanation}", finding.evidence, finding.confidence)
                yield from (line.text for line in statement_lines(told, evidence=True))

    def _finding(self, rule: str) -> Finding | None:
        return next((finding for finding in self._crash.findings if finding.rule == rule), None)
