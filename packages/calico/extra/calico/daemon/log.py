"""A daemon's log: one decision a line on standard error, `message key=value ...`, with a priority for journald.

Modules log with `logging.getLogger(__name__)`; `fields` makes the part behind the message. `configure` is called once,
by a daemon's main.
"""

import logging
import os
import re
import sys
from typing import TextIO

_PLAIN = re.compile(r"[^\s\"=]+")
# sd-daemon(3): the priority in front of a line, which the journal takes off.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
"""Upstream's names of levels, in lower case."""


def fields(**values: object) -> str:
    """`key=value` words in the order given; a value with spaces, quotes or `=` in it is quoted, None is left out."""
    return " ".join(f"{key}={_shown(value)}" for key, value in values.items() if value is not None)


def _shown(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class _Format(logging.Formatter):
    """A line, with what the journal needs to tell errors from news where the journal reads it."""

    def __init__(self, for_journal: bool) -> None:
        super().__init__("%(message)s" if for_journal else "%(asctime)s %(levelname)s %(message)s")
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record).replace("\n", "\\n")
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" if self._for_journal else line


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send everything from `level` on to `stream` (standard error where none is given)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Format("JOURNAL_STREAM" in os.environ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.raiseExceptions = False
