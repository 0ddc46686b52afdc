"""Networks as intervals that never overlap, as the kernel's interval sets want them.

Networks are nested or apart. Those that no other member covers are the ones to write: the *outermost*.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from calico.netlink.nftables.objects import Element

Span = tuple[int, int]


def interval_elements(length: int, spans: Iterable[Span]) -> Iterator[Element]:
    """The elements of an interval set. `spans` are sorted; those that overlap or touch become one."""
    for first, last in merged(spans):
        yield span_element(length, first, last)


def span_element(length: int, first: int, last: int) -> Element:
    """One interval."""
    end = b"" if last + 1 == 1 << (8 * length) else (last + 1).to_bytes(length, "big")
    return Element(first.to_bytes(length, "big"), end=end)


def merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Sorted intervals, joined where they overlap or touch."""
    current: Span | None = None
    for first, last in spans:
        if current and first <= current[1] + 1:
            current = (current[0], max(current[1], last))
            continue
        if current:
            yield current
        current = (first, last)
    if current:
        yield current


class Change(NamedTuple):
    """Outermost networks that came and that went."""

    added: tuple[Span, ...] = ()
    removed: tuple[Span, ...] = ()


class Networks:
    """A changing set of networks, and which of them are outermost. A step costs a binary search and a memmove."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        # By first address, the wider first.
        self._members = sorted((first, -last) for first, last in set(spans))
        self._outermost = list(_uncovered(self._members))

    @property
    def outermost(self) -> Sequence[Span]:
        """Those that no other covers, sorted."""
        return self._outermost

    def add(self, span: Span) -> Change:
        """A network comes in that was not."""
        first, last = span
        insort(self._members, (first, -last))
        place = bisect_right(self._outermost, (first, 1 << 200))
        if place and self._outermost[place - 1][1] >= last:
            return Change()
        start = bisect_left(self._outermost, (first, 0))
        end = bisect_right(self._outermost, (last, 1 << 200))
        covered = tuple(self._outermost[start:end])
        self._outermost[start:end] = [span]
        return Change((span,), covered)

    def remove(self, span: Span) -> Change:
        """A network goes that was in."""
        first, last = span
        del self._members[bisect_left(self._members, (first, -last))]
        place = bisect_left(self._outermost, span)
        if place == len(self._outermost) or self._outermost[place] != span:
            return Change()
        inside = self._members[bisect_left(self._members, (first, -last)) : bisect_right(self._members, (last, 0))]
        bared = tuple(_uncovered(inside))
        self._outermost[place : place + 1] = bared
        return Change(bared, (span,))


def _uncovered(members: Iterable[tuple[int, int]]) -> Iterator[Span]:
    end = -1
    for first, negative in members:
        if -negative > end:
            end = -negative
            yield first, end
