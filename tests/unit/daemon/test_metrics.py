"""The text format of Prometheus."""

import pytest

from calico.daemon.metrics import Registry, health_page, metrics_page


def test_counters_keep_their_name_and_start_at_zero() -> None:
    registry = Registry()
    counter = registry.counter("felix_int_dataplane_failures", "failed applies")
    before = "# HELP felix_int_dataplane_failures failed applies\n# TYPE felix_int_dataplane_failures counter\n"
    assert registry.render() == f"{before}felix_int_dataplane_failures 0\n"
    counter.add()
    counter.add(1.5)
    assert registry.render() == f"{before}felix_int_dataplane_failures 2.5\n"


def test_labels_are_sorted_and_escaped() -> None:
    registry = Registry()
    gauge = registry.gauge("g", "a gauge", ["x", "y"])
    gauge.set(2, "b", 'q"\\\n')
    gauge.set(1, "a", "z")
    assert registry.render().splitlines()[2:] == ['g{x="a",y="z"} 1', 'g{x="b",y="q\\"\\\\\\n"} 2']
    gauge.forget("a", "z")
    assert len(registry.render().splitlines()) == 3
    gauge.replace({("c", "d"): 7})
    assert registry.render().splitlines()[2:] == ['g{x="c",y="d"} 7']
    assert gauge.get("c", "d") == 7


def test_a_summary_is_sum_and_count() -> None:
    registry = Registry()
    summary = registry.summary("s", "times")
    summary.observe(0.25)
    summary.observe(0.5)
    assert registry.render().splitlines()[2:] == ["s_sum 0.75", "s_count 2"]


def test_a_name_is_taken_once() -> None:
    registry = Registry()
    registry.gauge("g", "a gauge")
    with pytest.raises(ValueError, match="two metrics"):
        registry.counter("g", "another")


def test_before_runs_ahead_of_reading() -> None:
    registry = Registry()
    gauge = registry.gauge("g", "a gauge")
    registry.before = lambda: gauge.set(5)
    assert metrics_page(registry)()[2].endswith("g 5\n")


@pytest.mark.parametrize(("good", "status"), [(True, 204), (False, 503)])
def test_health(good: bool, status: int) -> None:
    assert health_page(lambda: good)()[0] == status
