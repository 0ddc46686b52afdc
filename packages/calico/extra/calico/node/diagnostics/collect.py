"""Runs collectors side by side, each with a deadline and a limit, and puts together what they bring.

A collector that fails or is late is told about and keeps nobody else: etcd or a daemon that is down must not keep the
rest from being seen.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from calico.node.diagnostics.facts import Facts
from calico.node.diagnostics.redact import redact

FILE_LIMIT = 4 << 20
TOTAL_LIMIT = 64 << 20


class Collected(NamedTuple):
    """What a collector brings: texts by file name, and facts by their names in `Facts`."""

    files: dict[str, str]
    facts: dict[str, Any] = {}  # noqa: RUF012  a default of a NamedTuple, never changed


class Collector(NamedTuple):
    """A name for messages, and what is called."""

    name: str
    run: Callable[[], Collected]


class Collection(NamedTuple):
    """Everything that was brought; `unread` says of each collector that brought nothing why.

    Files are without secrets; facts are for the analysis, whose findings `analysis.presentable` makes so.
    """

    files: dict[str, str]
    facts: Facts
    unread: dict[str, str]


def gather(collectors: Sequence[Collector], node: str, secrets: frozenset[str], seconds: float) -> Collection:
    """Run all; those that are not done in time are left behind."""
    done: dict[str, Collected] = {}
    unread: dict[str, str] = {}
    threads = {each.name: threading.Thread(target=_run, args=(each, done, unread), daemon=True) for each in collectors}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            unread[name] = f"not done after {seconds:g} s"
    brought = {name: collected for name, collected in sorted(done.copy().items()) if name not in unread}
    files = _limited({name: text for collected in brought.values() for name, text in collected.files.items()}, secrets)
    facts: dict[str, Any] = {"now": time.time(), "node": node}
    for collected in brought.values():
        clocks = (*facts.get("clocks", ()), *collected.facts.get("clocks", ()))
        facts.update(collected.facts, clocks=clocks)
    clean = {name: redact(why, secrets) for name, why in unread.items()}
    return Collection(files, Facts(**facts, log_tails=_tails(files)), clean)


def _tails(files: dict[str, str]) -> dict[str, str]:
    """The last lines of each unit's log, by the unit."""
    logs = {Path(name).stem: text for name, text in files.items() if name.startswith("logs/")}
    return {f"{name}.service": "\n".join(text.splitlines()[-5:]) for name, text in logs.items()}


def _run(collector: Collector, done: dict[str, Collected], unread: dict[str, str]) -> None:
    try:
        done[collector.name] = collector.run()
    except Exception as error:  # whatever a broken node makes a collector do, the others must be seen
        unread[collector.name] = " ".join(str(error).split()) or type(error).__name__


def _limited(files: dict[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Each file and all of them within bounds and without secrets; of a long one the end is kept, in whole lines."""
    left, kept = TOTAL_LIMIT, {}
    for name, text in sorted(files.items(), key=lambda item: len(item[1])):
        limit = min(FILE_LIMIT, left)
        end = text if len(text) <= limit else text[len(text) - limit :].partition("\n")[2]
        clean = redact(end, secrets)
        if len(end) < len(text):
            clean = f"... {len(text) - len(end)} characters before this are left out ...\n{clean}"
        kept[name] = clean
        left = max(0, left - len(clean))
    return dict(sorted(kept.items()))


def output_of(*command: str, seconds: float = 15.0) -> str:
    """What a program prints, both streams; OSError or RuntimeError where it cannot be run or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise RuntimeError(f"there is no {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[0]} was not done after {seconds:g} s") from error
    return done.stdout.decode(errors="replace")
