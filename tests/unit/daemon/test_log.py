"""Lines of a daemon's log."""

import io
import logging
from collections.abc import Iterator

import pytest

from calico.daemon import log


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("a\nb", '"a\\nb"'),
        ("", '""'),
        (3, "3"),
    ],
)
def test_fields_quote_what_needs_it(value: object, shown: str) -> None:
    assert log.fields(key=value) == f"key={shown}"


def test_fields_leave_out_none() -> None:
    assert log.fields(a=1, b=None, c=2) == "a=1 c=2"


def _line(monkeypatch: pytest.MonkeyPatch, journal: bool, message: str) -> str:
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    else:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    stream = io.StringIO()
    log.configure(logging.INFO, stream)
    logging.getLogger("calico.x").warning(message)
    logging.getLogger("calico.x").debug("not shown")
    return stream.getvalue()


def test_the_journal_gets_a_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _line(monkeypatch, True, "no route") == "<4>no route\n"


def test_a_terminal_gets_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _line(monkeypatch, False, "no route").endswith(" WARNING no route\n")


def test_one_decision_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _line(monkeypatch, True, "a\nb") == "<4>a\\nb\n"
