"""The chain of PHP's calls from the running one outwards, each checked against the stack it should lie on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from triage.runtimes.php.calls import Call, Calls
from triage.runtimes.php.functions import Functions
from triage.runtimes.php.reader import Reader
from triage.runtimes.php.recursion import FIRST_TRY, LONGEST, Turns, turns
from triage.runtimes.php.values import Values
from triage.runtimes.php.vmstack import VmStack

WITH_ARGUMENTS = 1500
"""Of so many frames at either end arguments are read: a stack shows no more than that."""


@dataclass(slots=True)
class Chain:
    """The calls, innermost first. Turns of a recursion that follow a call are in `jumps`, by its place.

    There are none of them among the first and the last 1500 calls. `delegated` are the addresses of calls whose
    caller waits for them in `yield from`.
    """

    calls: list[Call] = field(default_factory=list)
    jumps: dict[int, Turns] = field(default_factory=dict)
    delegated: set[int] = field(default_factory=set)


class Chains:
    """Follows the chains of one process."""

    def __init__(
        self,
        reader: Reader,
        functions: Functions,
        stack: VmStack | None,
        repeatable: Callable[[Call], bool],
        marked: set[int],
        warnings: list[str],
    ) -> None:
        """`repeatable` tells calls that may be gone over; those at the addresses `marked` never are."""
        self._reader = reader
        self._functions = functions
        self._stack = stack
        self._repeatable = repeatable
        self._marked = marked
        self._warnings = warnings
        self._calls = Calls(reader)
        self._values = Values(reader)
        number = reader.layout.constant
        self._of_generator, self._is_object = number("ZEND_CALL_GENERATOR"), number("IS_OBJECT")
        self._size, self._slot = reader.layout.size("execute_data"), reader.layout.size("zval")

    def follow(self, current: int | None, limit: int, until: int | None) -> Chain:
        """The execute_data records, delegating generators put in their place."""
        found, seen = Chain(), set[int]()
        calls, at = found.calls, self._calls.at
        address, last, given = current, 0, 0
        wait, look = FIRST_TRY, WITH_ARGUMENTS + 2 * LONGEST
        while address and address != until:
            if address in seen:
                self._warnings.append(f"the PHP stack loops back to frame {address:#x}; cut there")
                break
            call = at(address) if address % 8 == 0 else None
            if call is None or (call.opline is None and not self._reader.sound(address)):
                self._warnings.append(f"the PHP stack leads to {address:#x}, which is not readable; cut there")
                break
            refused = self._refused(last or None, call)
            if refused:
                self._warnings.append(f"the PHP stack leads to {address:#x}, which {refused}; cut there")
                break
            if given >= limit:
                self._warnings.append(f"more than {limit} PHP frames; the outermost are left out")
                break
            seen.add(address)
            if not call.func and self._generator(call) is not None:  # the dummy frame PHP pushes for `yield from`
                chain = list(self._generators(call, limit - given))
                found.delegated.update([last, *chain][:-1])
                given += len(chain)
                calls.extend(map(at, chain))
            else:
                given += 1
                last = address
                calls.append(call)
            if call.previous is None:
                self._warnings.append(f"the PHP stack's frame {address:#x} is cut off; the outer ones are lost")
            address = call.previous
            if given >= look:
                more = self._turns(found, limit - given, until)
                wait = FIRST_TRY if more is not None else wait * 2
                if more is not None:
                    found.jumps[len(calls) - 1] = more
                    seen.update(*more.columns())
                    last, address, given = last - more.times * more.size, more.onwards, given + more.total
                look = given + wait
        self._last_ones(found)
        return found

    def _turns(self, found: Chain, most: int, until: int | None) -> Turns | None:
        """The turns of a recursion that follow: all as the last ones, none marked."""
        calls = found.calls
        lowest = self._stack.floor(calls[-1].address) if self._stack is not None else 0
        more = turns(self._reader.memory, self._calls, calls, lowest, most) if lowest is not None else None
        if more is None or any(call.flags & self._of_generator or not self._repeatable(call) for call in more.calls):
            return None
        marked = {*self._marked, *found.delegated, until}
        return None if any(address in column for column in more.columns() for address in marked) else more

    def _last_ones(self, found: Chain) -> None:
        """Read one by one what was gone over but is close to the outer end."""
        for place in sorted(found.jumps, reverse=True):
            more, lacking = found.jumps[place], WITH_ARGUMENTS - (len(found.calls) - 1 - place)
            if lacking <= 0:
                return
            times = max(0, more.times - -(-lacking // len(more.calls)))
            left = more.addresses()[times * len(more.calls) :]
            found.calls[place + 1 : place + 1] = map(self._calls.at, left)
            if times:
                found.jumps[place] = more.fewer(times)
                return
            del found.jumps[place]

    def _refused(self, inner: int | None, call: Call) -> str | None:
        """Why there can be no such call; records without a function are PHP's own and lie anywhere."""
        if self._stack is None or not call.func:
            return None
        return self._stack.refuses(
            inner,
            call.address,
            size=self._size + self._functions.at(call.func).slots * self._slot,
            generator=bool(call.flags & self._of_generator),
        )

    def _generator(self, call: Call) -> int | None:
        return call.this if self.this_class(call) == "Generator" else None

    def this_class(self, call: Call) -> str | None:
        """The class of `$this`, `None` in a function or a static method."""
        if call.kind != self._is_object or call.this is None:
            return None
        return self._values.class_of(call.this)

    def _generators(self, placeholder: Call, most: int) -> Iterator[int]:
        """The delegating generators, from the running one's parent out to the one first resumed."""
        reader = self._reader
        chain: list[int] = []
        seen: set[int] = set()
        node = self._generator(placeholder)
        while node and len(chain) < most and node not in seen:
            chain.append(node)
            seen.add(node)
            parent = reader.pointer(node, "generator", "node.parent")
            if parent is None or reader.pointer(parent, "generator", "node.parent") is None:
                break
            node = parent
        for generator in reversed(chain):
            frame = reader.pointer(generator, "generator", "execute_data")
            if frame is not None:
                yield frame
