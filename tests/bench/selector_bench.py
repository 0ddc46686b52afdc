"""Selectors: reading, matching, and the label index against evaluating everything.

The cluster has 10,000 endpoints and 1,000 selectors of five shapes, drawn with a fixed seed; about one pair in eighty
matches. The aims are those of a node that follows a busy cluster: built within 0.8 s, one label change within 60
microseconds at the median, and five times cheaper than evaluating every selector on the changed endpoint.
"""

import random
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from calico.selector.index import LabelIndex
from calico.selector.parser import Selector, parse

_ENDPOINTS, _SELECTORS, _CHANGES = 10_000, 1_000, 2_000

Labels = dict[str, str]
Index = LabelIndex[int, int, str]


class Cluster(NamedTuple):
    """What the index is built from."""

    texts: list[str]
    selectors: list[Selector]
    endpoints: list[Labels]


def bench(rounds: int) -> list[str]:
    """The figures, each the median of `rounds` runs."""
    cluster = _cluster()
    parsing = _median(rounds, lambda: [parse(text) for text in cluster.texts]) / _SELECTORS
    some = cluster.endpoints[:100]
    matching = _median(rounds, lambda: _evaluate(cluster.selectors, some)) / (_SELECTORS * len(some))
    building = _median(rounds, lambda: _build(cluster))
    everything = matching * _SELECTORS * _ENDPOINTS
    changes = sorted(second for _ in range(rounds) for second in _change_times(_build(cluster), cluster))
    middle, late = changes[len(changes) // 2], changes[len(changes) * 99 // 100]
    every = matching * _SELECTORS
    size = f"index, {_ENDPOINTS:,} endpoints x {_SELECTORS:,} selectors"
    ratio = f"{everything / building:.1f} times as fast as evaluating every pair ({everything:.2f} s)"
    change = f"one label change: p50 {middle * 1e6:.0f} us (aim 60), p99 {late * 1e6:.0f} us"
    return [
        f"parse: {1 / parsing:,.0f} selectors/s ({parsing * 1e6:.1f} us each)",
        f"match: {1 / matching:,.0f} evaluations/s ({matching * 1e9:.0f} ns each)",
        f"{size}: built in {building:.2f} s (aim 0.80), {ratio}",
        f"{change}, {every / middle:.0f} times as cheap as evaluating all selectors ({every * 1e6:.0f} us; aim 5)",
    ]


def _cluster() -> Cluster:
    draw = random.Random(1)
    texts = [_text(number) for number in range(_SELECTORS)]
    return Cluster(texts, [parse(text) for text in texts], [_labels(draw) for _ in range(_ENDPOINTS)])


def _text(number: int) -> str:
    app, env, team, zone = f"a{number % 200}", f"e{number % 7}", f"t{number % 50}", f"z{number % 100}"
    shapes = (
        f"app == '{app}'",
        f"app == '{app}' && env in {{'prod', '{env}'}}",
        f"has(team) && team == '{team}' && app != '{app}'",
        f"zone starts with '{zone}' && env == '{env}'",
        f"app in {{'{app}', 'a{(number + 7) % 200}'}} || team == '{team}'",
    )
    return shapes[number % len(shapes)]


def _labels(draw: random.Random) -> Labels:
    names = (("app", "a", 200), ("env", "e", 7), ("team", "t", 50), ("zone", "z", 1000))
    return {name: f"{letter}{draw.randrange(count)}" for name, letter, count in names}


def _median(rounds: int, work: Callable[[], object]) -> float:
    return statistics.median(_seconds(work) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _evaluate(selectors: list[Selector], endpoints: list[Labels]) -> int:
    return sum(selector.matches(labels) for selector in selectors for labels in endpoints)


def _build(cluster: Cluster) -> Index:
    index: Index = LabelIndex()
    for number, selector in enumerate(cluster.selectors):
        index.set_selector(number, selector)
    for number, labels in enumerate(cluster.endpoints):
        index.set_endpoint(number, labels)
    return index


def _change_times(index: Index, cluster: Cluster) -> list[float]:
    """Seconds of single label changes, each to a value that another endpoint has."""
    draw = random.Random(2)
    return [_change_time(index, draw, cluster.endpoints) for _ in range(_CHANGES)]


def _change_time(index: Index, draw: random.Random, endpoints: list[Labels]) -> float:
    number = draw.randrange(len(endpoints))
    name = draw.choice(("app", "env", "team", "zone"))
    labels = {**endpoints[number], name: draw.choice(endpoints)[name]}
    return _seconds(lambda: index.set_endpoint(number, labels))
