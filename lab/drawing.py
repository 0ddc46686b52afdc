"""The drawing of a lab: its nodes on their network and what runs on them, as SVG that needs no script."""

import html
from collections.abc import Iterator, Sequence

from lab.plan import Node, Plan
from lab.tasks import Task

_WIDTH, _GAP, _MARGIN = 1040, 24, 14
_BRIDGE_TOP, _BRIDGE_HEIGHT, _NODE_TOP, _HEAD = 26, 34, 110, 56
_BOX, _BOX_GAP = 64, 10


def text(value: object) -> str:
    """A value within HTML."""
    return html.escape(str(value))


def drawn(plan: Plan, tasks: Sequence[Task]) -> str:
    """The whole drawing."""
    most = max(sum(task.agent == node.name for task in tasks) for node in plan.nodes)
    height = _NODE_TOP + _HEAD + most * (_BOX + _BOX_GAP) + _GAP
    width = (_WIDTH - _GAP * (len(plan.nodes) + 1)) / len(plan.nodes)
    parts = list(_bridge(plan))
    for number, node in enumerate(plan.nodes):
        left = _GAP + number * (width + _GAP)
        own = [task for task in tasks if task.agent == node.name]
        parts += _node(node, own, left, width, height - _NODE_TOP - _GAP)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="topology">{"".join(parts)}</svg>'


def _bridge(plan: Plan) -> Iterator[str]:
    line = _BRIDGE_TOP + 22
    yield _rect(_GAP, _BRIDGE_TOP, _WIDTH - 2 * _GAP, _BRIDGE_HEIGHT, "bridge")
    yield _words(_GAP + _MARGIN, line, plan.subnet, "title")
    yield _words(_WIDTH / 2, line, f"the lab's bridge; nodes install from {plan.url}", "soft")


def _node(node: Node, tasks: Sequence[Task], left: float, width: float, height: float) -> Iterator[str]:
    middle = left + width / 2
    yield f'<line x1="{middle:.0f}" y1="{_BRIDGE_TOP + _BRIDGE_HEIGHT}" x2="{middle:.0f}" y2="{_NODE_TOP}"/>'
    yield _rect(left, _NODE_TOP, width, height, "node")
    yield _words(left + _MARGIN, _NODE_TOP + 24, node.name, "title")
    yield _words(left + _MARGIN, _NODE_TOP + 42, f"{node.address}, {node.role}", "soft")
    for place, task in enumerate(tasks):
        yield from _task(task, left + _MARGIN, _NODE_TOP + _HEAD + place * (_BOX + _BOX_GAP), width - 2 * _MARGIN)


def _task(task: Task, left: float, top: float, width: float) -> Iterator[str]:
    labels = ", ".join(f"{key}={value}" for key, value in sorted(task.app.labels.items()))
    yield _rect(left, top, width, _BOX, "task")
    yield _words(left + 10, top + 20, task.app.name, "title")
    yield _words(left + 10, top + 37, task.address, "")
    yield _words(left + 10, top + 53, labels, "soft")


def _rect(left: float, top: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="5" class="{kind}"/>'


def _words(left: float, line: float, words: str, kind: str) -> str:
    return f'<text x="{left:.0f}" y="{line:.0f}" class="{kind}">{text(words)}</text>'
