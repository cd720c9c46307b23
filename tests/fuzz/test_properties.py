"""What must hold for every input: what is whole is read back as it was written, what is cut off is refused."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit import makecore
from triage import clock, redact
from triage.corefile import elf, notes
from triage.corefile.sources import apport, collected
from triage.errors import UsageError
from triage.gdb import mi
from triage.klog.fpm import exits
from triage.klog.kernel import KernelFault, faults
from triage.query import parse_query
from triage.text import clean, number

# The same inputs in every run, so that a failure is one of this change; scripts/fuzz looks for new ones.
settings.register_profile(
    "steady", derandomize=True, deadline=2000, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NAMES = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def told(value: Any) -> str:
    """A value as GDB writes it."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ",".join(told(each) for each in value) + "]"
    return "{" + ",".join(f"{name}={told(each)}" for name, each in value.items()) + "}"


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), st.integers(0, 9999))
def test_a_whole_record_is_read_as_it_was_written(payload: dict[str, Any], token: int) -> None:
    line = f"{token}^done," + ",".join(f"{name}={told(value)}" for name, value in payload.items())
    record = mi.parse(line)
    assert (record.token, record.message, record.payload) == (token, "done", payload)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), st.data())
def test_a_record_that_is_cut_is_refused_or_a_whole_one(payload: dict[str, Any], data: st.DataObject) -> None:
    line = "^done," + ",".join(f"{name}={told(value)}" for name, value in payload.items())
    cut = line[: data.draw(st.integers(6, len(line) - 1))]
    try:
        record = mi.parse(cut)
    except mi.BrokenRecord:
        return
    # What is left may be whole by itself: then it holds the first of the pairs, and nothing else.
    assert list((record.payload or {}).items()) == list(payload.items())[: len(record.payload or {})]


WORDS = st.from_regex(r"[A-Za-z0-9_./-]{1,20}", fullmatch=True)
ADDRESSES = st.integers(0, (1 << 64) - 1)


@given(
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9:./ -]{0,13}[A-Za-z0-9]", fullmatch=True), pid=st.integers(1, 4_194_304),
    address=ADDRESSES, ip=ADDRESSES, sp=ADDRESSES, error=st.integers(0, 0xFFFF), module=WORDS,
    offset=st.none() | ADDRESSES, base=ADDRESSES, size=st.integers(0, 1 << 40), code=st.binary(max_size=64),
)  # fmt: skip
def test_a_fault_is_read_as_the_kernel_told_it(
    name: str, pid: int, address: int, ip: int, sp: int, error: int, module: str, offset: int | None, base: int,
    size: int, code: bytes,
) -> None:  # fmt: skip
    place = f"{offset:x},{base:x}" if offset is not None else f"{base:x}"
    where = f"{module}[{place}+{size:x}]"
    line = f"{name}[{pid}]: segfault at {address:x} ip {ip:016x} sp {sp:016x} error {error:x} in {where}"
    at = len(code) // 2
    dump = " ".join(f"<{byte:02x}>" if index == at else f"{byte:02x}" for index, byte in enumerate(code))
    found = list(faults([(None, "web", line), (None, "web", f"Code: {dump}")]))
    assert found == [
        KernelFault(
            time=None, host="web", name=name, pid=pid, signal=11, trap=None, ip=ip, sp=sp, address=address,
            error=error, module=module, offset=offset, base=base, size=size, code=code, code_at=at if code else 0,
        )
    ]  # fmt: skip


@given(
    st.datetimes(datetime(1971, 1, 2), datetime(2100, 1, 1)), st.integers(1, 1 << 22), st.none() | WORDS,
    st.booleans(), st.integers(0, 10**9),
)  # fmt: skip
def test_a_death_is_read_as_php_fpm_told_it(
    moment: datetime, pid: int, pool: str | None, dumped: bool, age: int
) -> None:
    moment = moment.replace(microsecond=0)
    line = (
        f"[{moment:%d-%b-%Y %H:%M:%S}] WARNING: {f'[pool {pool}] ' if pool else ''}child {pid} exited on signal 11 "
        f"(SIGSEGV{' - core dumped' if dumped else ''}) after {age}.500000 seconds from start"
    )
    (found,) = exits([line])
    assert (found.pid, found.pool, found.dumped, found.age) == (pid, pool, dumped, age + 0.5)
    assert found.time == moment.astimezone()


@given(st.dictionaries(st.sampled_from(["pid", "user", "time", "host", "executable", "unit", "arguments"]),
                       st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
                                    lambda inner: st.lists(inner, max_size=3), max_leaves=4)))  # fmt: skip
def test_whatever_stands_beside_a_core_makes_a_record(facts: Mapping[str, Any]) -> None:
    made = collected.origin(facts)
    assert made.time is None or made.time.tzinfo is UTC
    assert all(each is None or abs(each) < 1 << 62 for each in (made.pid, made.user))
    assert made.host is None or made.host == facts["host"]


@given(st.floats() | st.integers())
def test_a_number_is_a_time_or_none(seconds: float) -> None:
    found = clock.told(seconds)
    if found is not None:
        assert abs(found.timestamp() - seconds) < 1e-3
        assert len(clock.iso(found)) == 20


@given(TEXT | st.from_regex(r"[0-9]{1,25}", fullmatch=True))
def test_a_number_in_a_file_fits_a_database(text: str) -> None:
    found = number(text)
    assert (found is None) == (re.fullmatch(r"[0-9]{1,18}", text) is None)
    assert found is None or (found == int(text) and found < 1 << 63)


REPORT = st.dictionaries(
    st.sampled_from([b"ExecutablePath", b"ProcCmdline", b"Package", b"CrashCounter", b"Date", b"Uname", b"../../x"]),
    TEXT.map(lambda text: " ".join(text.split())),
)


@given(REPORT, st.integers(1, 1 << 22))
def test_a_report_of_apport_is_read_as_it_was_written(facts: dict[bytes, str], pid: int) -> None:
    lines = [name + b": " + value.encode() for name, value in facts.items()]
    report = b"\n".join([b"ProblemType: Crash", *lines, b"ProcStatus:", b" Pid:\t%d" % pid, b"CoreDump: base64",
                         b" H4sIAAAAAAAC/wMAAAAAAAAAAAA="])  # fmt: skip
    origin, kind, _ = apport.read_report(io.BytesIO(report))
    assert (origin.pid, kind) == (pid, "gzip")
    assert origin.executable == (facts.get(b"ExecutablePath") or None)
    assert origin.occurrences == number(facts.get(b"CrashCounter", ""))


@given(st.lists(st.tuples(st.sampled_from(["host", "pool", "sapi", "signal", "uri", "fn", "note"]), PLAIN,
                          st.booleans()), max_size=6))  # fmt: skip
def test_a_query_is_read_as_it_was_written(terms: list[tuple[str, str, bool]]) -> None:
    terms = [(key, value, negated) for key, value, negated in terms if value and '"' not in value]
    text = " ".join(f'{"!" if negated else ""}{key}:"{value}"' for key, value, negated in terms)
    found = parse_query(text)
    assert [(term.key, term.values, term.negated) for term in found.terms] == [
        (key, (value,), negated) for key, value, negated in terms
    ]


@given(TEXT)
def test_what_a_person_types_is_a_query_or_an_answer(text: str) -> None:
    try:
        found = parse_query(text)
    except UsageError as error:
        found = parse_query(f'"{str(error).replace(chr(34), "")}"')  # the answer is text like any other
        assert len(found.terms) == 1
        return
    assert found.text == text.strip()


@given(st.text() | st.binary(), st.none() | st.integers(1, 40))
def test_what_was_cleaned_moves_no_cursor_and_stays(value: str | bytes, limit: int | None) -> None:
    found = clean(value, limit=limit)
    assert found.isprintable()
    assert clean(found, limit=limit) == found
    assert limit is None or len(found) <= limit
    if isinstance(value, str) and value.isprintable() and limit is None:
        assert found == value


SECRET = st.from_regex(r"[A-Za-z0-9]{6,30}", fullmatch=True).filter(lambda word: word not in redact.HIDDEN)


@given(
    st.sampled_from(["password", "db_pass", "api_key", "X-Auth-Token", "mysql_pwd", "client_secret"]), SECRET, NAMES
)
def test_a_value_with_a_secret_name_is_never_kept(name: str, secret: str, other: str) -> None:
    secret = f"S3{secret}"
    kept = [
        redact.setting(name, secret), redact.variable(name, secret), redact.uri(f"/{other}?x=1&{name}={secret}"),
        *redact.command_line(["php", f"--{name}={secret}"]), redact.text(f"https://u:{secret}@{other}/"),
        json.dumps(redact.environment({name: secret})),
    ]  # fmt: skip
    assert not [text for text in kept if text and secret in text]


@given(st.lists(st.tuples(st.integers(1, 1 << 22), st.sampled_from([4, 6, 7, 8, 11]), ADDRESSES), min_size=1,
                max_size=5))  # fmt: skip
def test_the_threads_of_a_core_are_read_as_the_kernel_wrote_them(threads: list[tuple[int, int, int]]) -> None:
    raw = b"".join(makecore.prstatus(pid, signal, {"rip": ip}) for pid, signal, ip in threads)
    found = notes.decode(elf.read_notes(raw, 4), "x86_64")
    assert [(each.id, each.registers["rip"]) for each in found.threads] == [(pid, ip) for pid, _, ip in threads]


@pytest.mark.parametrize("depth", [10, 200_000])
def test_what_is_nested_without_end_is_damaged(depth: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("beside") / f"x{collected.SUFFIX}"
    path.write_text("[" * depth)
    assert collected.read(path) is None
