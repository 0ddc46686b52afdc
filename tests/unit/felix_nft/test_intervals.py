"""Networks as intervals, against a twin that looks at every address."""

from ipaddress import IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.felix.dataplane.nft.family import V4, V6
from calico.felix.dataplane.nft.intervals import Networks, Span, interval_elements, merged, span_element
from calico.netlink.nftables.objects import Element

# Networks of a space of 64 addresses, nested and apart.
_NETWORKS = st.builds(
    lambda length, index: ((index % (1 << length)) << (6 - length), ((index % (1 << length)) + 1 << (6 - length)) - 1),
    st.integers(0, 6),
    st.integers(0, 63),
)


def outermost(members: set[Span]) -> list[Span]:
    """Those that no other member covers."""
    return sorted(
        one for one in members if not any(two != one and two[0] <= one[0] and one[1] <= two[1] for two in members)
    )


@given(st.lists(st.tuples(st.booleans(), _NETWORKS), max_size=60))
def test_every_step_gives_what_the_outermost_become(steps: list[tuple[bool, Span]]) -> None:
    networks, members, written = Networks(), set[Span](), set[Span]()
    for is_added, span in steps:
        if is_added == (span in members):
            continue
        change = networks.add(span) if is_added else networks.remove(span)
        (members.add if is_added else members.discard)(span)
        assert set(change.removed) <= written
        assert not set(change.added) & written
        written = written - set(change.removed) | set(change.added)
        assert sorted(written) == outermost(members) == list(networks.outermost)


@given(st.sets(_NETWORKS))
def test_a_set_that_comes_whole_is_as_one_that_grew(spans: set[Span]) -> None:
    assert list(Networks(spans).outermost) == outermost(spans)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda two: (min(two), max(two))), max_size=12))
def test_merged_intervals_hold_the_same_numbers(spans: list[Span]) -> None:
    joined = list(merged(sorted(spans)))
    numbers = {number for first, last in spans for number in range(first, last + 1)}
    assert {number for first, last in joined for number in range(first, last + 1)} == numbers
    assert all(one[1] + 1 < two[0] for one, two in pairwise(joined))


@pytest.mark.parametrize(
    ("first", "last", "element"),
    [
        (1, 3, Element(b"\0\1", end=b"\0\4")),
        (0, 0, Element(b"\0\0", end=b"\0\1")),
        (0xFFFF, 0xFFFF, Element(b"\xff\xff", end=b"")),
        (0, 0xFFFF, Element(b"\0\0", end=b"")),
    ],
)
def test_an_interval_ends_before_the_next_key(first: int, last: int, element: Element) -> None:
    assert span_element(2, first, last) == element


def test_ranges_that_touch_become_one_element() -> None:
    assert list(interval_elements(2, [(1, 4), (3, 6), (7, 9), (11, 11)])) == [
        span_element(2, 1, 9),
        span_element(2, 11, 11),
    ]


@pytest.mark.parametrize(
    ("family", "text", "span"),
    [
        (V4, "10.0.0.1", (0x0A000001, 0x0A000001)),
        (V4, "10.0.0.1/32", (0x0A000001, 0x0A000001)),
        (V4, "10.0.0.0/8", (0x0A000000, 0x0AFFFFFF)),
        (V4, "0.0.0.0/0", (0, 0xFFFFFFFF)),
        (V6, "::1", (1, 1)),
        (V6, "::/127", (0, 1)),
        (V6, "ff00::/8", (0xFF << 120, (1 << 128) - 1)),
    ],
)
def test_the_span_of_a_network(family: object, text: str, span: Span) -> None:
    assert (V4 if family is V4 else V6).span(text) == span


def test_the_span_agrees_with_the_standard_library() -> None:
    for length in range(33):
        network = IPv4Network((0xC0A80101 >> (32 - length) << (32 - length) if length else 0, length))
        assert V4.span(str(network)) == (int(network.network_address), int(network.broadcast_address))
