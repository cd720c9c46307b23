"""What to do first in production: the cheapest and most easily undone first, with the exact commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from triage import lists
from triage.explain.service import Service
from triage.model import Crash, Finding

_JIT_RULES = ("in-jit-code", "jit-on-stack")
_DAMAGE_RULES = ("heap-damaged", "zend-mm-corrupted", "text-as-pointer", "poison", "freed-block", "impossible-value",
                 "glibc-heap-corrupt", "glibc-double-free", "glibc-invalid-free")  # fmt: skip
_OWN_FAULT = ("signal-sent", "limit-reached", "mapped-file-gone", "bus-error", "bit-flip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do. `commands` to run as root, `undo` to take it back, `because` what it rests on."""

    text: str
    because: tuple[str, ...]
    commands: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()


def steps(crash: Crash, service: Service) -> tuple[Step, ...]:
    """The steps for a crash, in the order to take them."""
    rules = {finding.rule: finding for finding in crash.findings}
    return tuple(_each(crash, rules, service))


def _each(crash: Crash, rules: dict[str, Finding], service: Service) -> Iterator[Step]:
    yield from _restart(rules, service)
    yield from _from_findings(crash)
    if any(rule in rules for rule in _OWN_FAULT) and not any(rule in rules for rule in _DAMAGE_RULES):
        return  # nothing in PHP needs to be switched off or changed
    if "stack-overflow" in rules and crash.runtime is not None and _php_recursion(rules):
        return
    yield from _just_in_time(crash, rules, service)
    yield from _tools(crash, service)
    yield from _foreign(crash, rules, service)
    yield from _packages(crash, service)


def _php_recursion(rules: dict[str, Finding]) -> bool:
    found = rules.get("blame")
    return found is not None and re.search(r"your \w+ code: ", found.title) is not None


def _restart(rules: dict[str, Finding], service: Service) -> Iterator[Step]:
    found = rules.get("replaced-files")
    if found is not None:
        yield Step(
            text="Restart the service: it still runs files that an update has replaced.",
            because=found.evidence,
            commands=(service.restart,) if service.restart else (),
        )


def _from_findings(crash: Crash) -> Iterator[Step]:
    """What the finding about the fault itself says to do, where that is more than to compare crashes."""
    for finding in crash.findings:
        if finding.topic == "fault" or finding.rule in ("bit-flip", "mismatched-extension", "after-timeout",
                                                        "after-memory-limit", "two-versions"):  # fmt: skip
            for text in finding.next_steps:
                yield Step(text=text, because=(finding.title, *finding.evidence[:2]))


def _just_in_time(crash: Crash, rules: dict[str, Finding], service: Service) -> Iterator[Step]:
    runtime = crash.runtime
    if runtime is None or not runtime.jit:
        return
    told = [rules[rule].evidence[0] for rule in _JIT_RULES if rule in rules]
    mode = runtime.options.get("opcache.jit")
    commands, undo = service.setting("opcache.jit=disable")
    yield Step(
        text="Switch opcache's JIT off on one server. It costs some speed for computing code and nothing else"
        + (", and this crash has to do with JIT code." if told else "."),
        because=(
            f"machine code made by the JIT is in this process{f' (opcache.jit={mode})' if mode else ''}",
            *told,
            service.evidence,
        ),
        commands=commands,
        undo=undo,
    )


def _tools(crash: Crash, service: Service) -> Iterator[Step]:
    runtime = crash.runtime
    for name in runtime.extensions if runtime is not None else ():
        if lists.is_observer(name) and runtime is not None:
            hooks = [hook.name for hook in runtime.hooks if hook.extension == name]
            commands, undo = service.without(name)
            yield Step(
                text=f"Switch off the extension {name} on one server: it reaches deep into the engine, and is needed "
                "for observing only.",
                because=(
                    f"{name} {runtime.extensions[name] or ''} is loaded".strip()
                    + (f" and took over {', '.join(dict.fromkeys(hooks))}" if hooks else ""),
                    service.evidence,
                ),
                commands=commands,
                undo=undo,
            )


def _foreign(crash: Crash, rules: dict[str, Finding], service: Service) -> Iterator[Step]:
    """Extensions that are not PHP's own, when memory is damaged or when one of them is on top of the stack."""
    runtime = crash.runtime
    if runtime is None:
        return
    blamed = rules["blame"].title if "blame" in rules else ""
    damaged = next((rules[rule] for rule in _DAMAGE_RULES if rule in rules), None)
    for name, version in runtime.extensions.items():
        own = version == runtime.version or lists.is_bundled(name) or name not in runtime.extension_files
        on_top = f"the extension {name}" in blamed
        if lists.is_observer(name) or (own and not (on_top and service.php)) or not (damaged or on_top):
            continue
        commands, undo = service.without(name)
        why = rules["blame"].evidence if on_top else (damaged.title if damaged else "",)
        yield Step(
            text=(
                f"Update the extension {name}, or switch it off on one server if your code can do without it"
                if service.php
                else f"Try another version of the extension {name} on one server: a newer one, or the one before"
            )
            + ("." if on_top else ", one extension at a time."),
            because=(f"{name} {version or ''} comes in a file of its own: {runtime.extension_files.get(name)}", *why),
            commands=commands,
            undo=undo,
        )


def _packages(crash: Crash, service: Service) -> Iterator[Step]:
    """A newer build, then an older one: last, because it changes most."""
    if not service.packages:
        return
    version = crash.runtime.version if crash.runtime is not None else None
    yield Step(
        text="See whether a newer build of PHP is at hand, and what it fixes; install it on one server.",
        because=(f"PHP {version} died", service.evidence),
        commands=(
            "apt-get update",
            f"apt-get install --only-upgrade -s {' '.join(service.packages)}   # -s: only shows what it would do",
            f"apt-get changelog {service.packages[1]} | head -40",
        ),
    )
    yield Step(
        text="If the crashes began with an update of PHP, go back to the build before it, on one server. A downgrade "
        "loses the security fixes in between: keep it short.",
        because=("nothing in one core tells when the crashes began: /var/log/dpkg.log tells what was installed when",
                 service.evidence),
        commands=(
            f"grep ' upgrade php{service.version}' /var/log/dpkg.log | tail",
            f"apt-cache madison {service.packages[0]}   # which versions can be had",
            "apt-get install -s --allow-downgrades "
            + " ".join(f"{name}=VERSION" for name in service.packages)
            + "   # all of PHP's packages at once",
        ),
    )  # fmt: skip
