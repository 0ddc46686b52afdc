"""The page of a story: one self-contained HTML file, with the topology, the endpoints, the policies and two matrices.

Nothing is fetched from anywhere and nothing runs: it is meant to be kept, mailed and printed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from lab.drawing import drawn, text
from lab.plan import Plan
from lab.reach import Cell
from lab.story import Outcome, Step
from lab.tasks import Task

_STYLE = """
:root { --ink: #1c2733; --soft: #5b6b7b; --line: #d5dde5; --ground: #f6f8fa; --yes: #14734b; --yes-ground: #e2f4ea;
  --no: #a3271f; --no-ground: #fbe5e3; --node: #e8eef6; --box: #ffffff; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); margin: 0 auto; max-width: 1080px;
  padding: 28px 24px 60px; background: #fff; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 10px; }
p.verdict { display: inline-block; padding: 4px 12px; border-radius: 4px; font-weight: 600; margin: 6px 0 0; }
.yes { color: var(--yes); background: var(--yes-ground); } .no { color: var(--no); background: var(--no-ground); }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: 7px 10px;
  border: 1px solid var(--line); } th { background: var(--ground); font-weight: 600; }
td.state { white-space: nowrap; } td.cell { width: 25%; } td.self { background: var(--ground); color: var(--soft); }
.cell b { display: block; } .cell small, small { color: var(--soft); display: block; }
details { margin-top: 4px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
pre { background: var(--ground); border: 1px solid var(--line); padding: 10px 12px; overflow-x: auto; font-size: 12.5px;
  line-height: 1.4; margin: 6px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.label { display: inline-block; background: var(--ground); border: 1px solid var(--line); border-radius: 3px;
  padding: 0 6px; margin: 0 4px 2px 0; font-size: 12.5px; }
svg { width: 100%; height: auto; box-sizing: border-box; border: 1px solid var(--line); }
svg text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .soft { fill: var(--soft); font-size: 11.5px; } svg .title { font-weight: 600; }
svg rect { fill: var(--box); stroke: var(--soft); } svg .bridge { fill: var(--ground); stroke: var(--line); }
svg .node { fill: var(--node); stroke: var(--line); } svg line { stroke: var(--soft); stroke-width: 1.5; }
@media print { details { display: none; } }
"""
_SERVERS_OWN = ("creationTimestamp", "resourceVersion", "uid")


def page(title: str, plan: Plan, outcome: Outcome) -> str:
    """The whole document."""
    verdict = (
        ("yes", "It went as the README tells") if outcome.is_as_told else ("no", "It did not go as the README tells")
    )
    parts = [
        f"<h1>{text(title)}</h1>",
        f'<p class="verdict {verdict[0]}" id="verdict">{verdict[1]}</p>',
        _section("The steps", _steps(outcome.steps)),
        _section("Where everything runs", drawn(plan, outcome.tasks)),
        _section("Who reaches whom, before the policy", _matrix("before", outcome.tasks, outcome.before)),
        _section("Who reaches whom, with the policy", _matrix("after", outcome.tasks, outcome.after)),
        _section("Endpoints", _endpoints(outcome)),
        _section("Policies", "".join(f"<pre>{text(_yaml(policy))}</pre>" for policy in outcome.policies)),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{text(title)}</title>'
    body = "\n".join(parts)
    lines = ["<!doctype html>", '<html lang="en">', f"<head>{head}<style>{_STYLE}</style></head>"]
    return "\n".join([*lines, f"<body>\n{body}\n</body>", "</html>", ""])


def _section(title: str, content: str) -> str:
    return f"<section><h2>{text(title)}</h2>\n{content}</section>"


def _table(head: Sequence[str], rows: Iterable[str], name: str) -> str:
    cells = "".join(f"<th>{text(column)}</th>" for column in head)
    return f'<table id="{name}"><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _steps(steps: Sequence[Step]) -> str:
    rows = (
        _row([str(number), step.title, step.expected, step.seen])
        + f'<td class="state {_class(step.is_as_told)}">{"as told" if step.is_as_told else "otherwise"}</td></tr>'
        for number, step in enumerate(steps, 1)
    )
    return _table(("", "Step", "Expected", "Seen", ""), rows, "steps")


def _class(is_well: bool) -> str:
    return "yes" if is_well else "no"


# -------------------------------------------------------------------------------------------------- matrices


def _matrix(name: str, tasks: Sequence[Task], cells: Sequence[Cell]) -> str:
    found = {(cell.source, cell.destination): cell for cell in cells}
    names = [task.app.name for task in tasks]
    rows = (
        f"<tr><th>{text(source)}</th>{''.join(_cell(found.get((source, destination))) for destination in names)}</tr>"
        for source in names
    )
    return _table(("from \\ to", *names), rows, name)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return '<td class="cell self">itself</td>'
    verdict = "answered" if cell.is_reached else "no answer"
    why = f"<small>{text(cell.why.summary)}</small>{_details(cell.why.text)}" if cell.why else ""
    return f'<td class="cell {_class(cell.is_reached)}"><b>{verdict}</b><small>{text(cell.said)}</small>{why}</td>'


def _details(trace: str) -> str:
    return f"<details><summary>the whole trace</summary><pre>{text(trace)}</pre></details>"


# -------------------------------------------------------------------------------------------------- endpoints, policies


def _endpoints(outcome: Outcome) -> str:
    rows = (
        _row([endpoint.name, endpoint.node, ", ".join(endpoint.addresses), endpoint.interface])
        + f"<td>{_labels(endpoint.labels.items())}</td><td>{text(', '.join(endpoint.profiles))}</td></tr>"
        for endpoint in outcome.endpoints
    )
    return _table(("Endpoint", "Node", "Address", "Interface", "Labels", "Profiles"), rows, "endpoints")


def _row(values: Iterable[str]) -> str:
    """A row's first cells."""
    return "<tr>" + "".join(f"<td>{text(value)}</td>" for value in values)


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<span class="label">{text(key)}={text(value)}</span>' for key, value in sorted(labels))


def _yaml(policy: Mapping[str, Any]) -> str:
    """A resource as people write it; what the server keeps for itself is left out."""
    metadata = {key: value for key, value in policy["metadata"].items() if key not in _SERVERS_OWN}
    return yaml.safe_dump({**policy, "metadata": metadata}, sort_keys=False)
