"""Who reaches whom: every pair of tasks tried with a request, and what felix' rules say about it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lab.cluster import each_at_once
from lab.instance import LabError
from lab.tasks import Task, Tasks
from lab.trace import Trace, trace

PORT = 80
_SECONDS = 3


class Cell(NamedTuple):
    """One pair: what the request came to, and why. `said` is what the client printed."""

    source: str
    destination: str
    is_reached: bool
    said: str
    why: Trace | None = None

    def to_json(self) -> dict[str, Any]:
        """For the page and for programs."""
        return {**self._asdict(), "why": self.why._asdict() if self.why else None}


def request(tasks: Tasks, source: Task, destination: Task, seconds: int = _SECONDS) -> Cell:
    """Ask `destination` for its id from the container of `source`, by its name and with the README's words."""
    words = ["wget", "-qO-", f"--timeout={seconds}", f"{destination.app.host}:{PORT}/id"]
    status, out, wrong = tasks.run(source, words, timeout=seconds + 30)
    is_reached = status == 0 and out == destination.answer
    return Cell(source.app.name, destination.app.name, is_reached, (out + wrong).strip())


def matrix(tasks: Tasks, chosen: Sequence[Task], explained: bool = True) -> list[Cell]:
    """Every pair of different tasks, in the order of `chosen`."""
    pairs = [(source, destination) for source in chosen for destination in chosen if source != destination]
    cells: dict[tuple[str, str], Cell] = {}

    def look(pair: tuple[Task, Task]) -> None:
        cell = request(tasks, *pair)
        why = trace(tasks.cluster, *pair, port=PORT) if explained else None
        cells[cell.source, cell.destination] = cell._replace(why=why)

    if errors := each_at_once(pairs, look):
        raise LabError("\n".join(map(str, errors)))
    return [cells[source.app.name, destination.app.name] for source, destination in pairs]
