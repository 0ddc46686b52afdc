"""Tables as calicoctl prints them.

Upstream lays cells out with Go's tabwriter (minimum width 5, three blanks of padding, the last cell of a row padded
too) and ends each table with a blank line; scripts cut columns by that, so it is kept to the character.
"""

from collections.abc import Sequence

_MINIMUM = 5
_PADDING = 3


def render(rows: Sequence[Sequence[str]]) -> str:
    """The table of `rows` (the first is the heading), with the blank line after it; widths count characters."""
    columns = max((len(row) for row in rows), default=0)
    widths = [
        max(_MINIMUM, *(len(row[column]) + _PADDING for row in rows if column < len(row))) for column in range(columns)
    ]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]
    return "\n".join(lines) + "\n\n"


def bordered(rows: Sequence[Sequence[str]]) -> str:
    """A table with `+---+` borders and centred headings, as `ipam show` and `node status` print theirs."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    heading = "|" + "|".join(f" {_centred(cell, width)} " for cell, width in zip(rows[0], widths, strict=True)) + "|"
    body = ["|" + "|".join(f" {cell.ljust(w)} " for cell, w in zip(row, widths, strict=True)) + "|" for row in rows[1:]]
    return "\n".join([border, heading, border, *body, border]) + "\n"


def _centred(text: str, width: int) -> str:
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)
