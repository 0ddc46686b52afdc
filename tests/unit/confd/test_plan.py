"""What each case of the datastore asks of BIRD, as values; tests/integration/confd holds a real BIRD against them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from calico.confd.plan import Settings, plan
from calico.confd.render import render, render_without_secrets
from tests.unit.confd.cases import CASES, Case, cluster, node, sessions_of

V = TypeVar("V")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_case(case: Case) -> None:
    found = plan(case.cluster, Settings(case.own, case.router_id), case.passwords)
    assert sessions_of(found.configuration) == case.sessions
    assert found.configuration.router_id == case.is_router
    assert found.configuration.log_level == case.log_level
    for problem, beginning in zip(found.problems, case.problems, strict=True):
        assert str(problem).startswith(beginning)
        assert problem.hint, "says what to do"


def test_there_are_enough_cases_and_each_is_another() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_secret_is_shown(case: Case) -> None:
    found = plan(case.cluster, Settings(case.own, case.router_id), case.passwords)
    text = render_without_secrets(found.configuration)
    report = "\n".join(map(str, found.problems))
    for password in case.passwords.values():
        if len(password.text) > 1:
            assert password.text not in text
            assert password.text not in report


def turned_round(members: Mapping[str, V]) -> dict[str, V]:
    return dict(reversed(list(members.items())))


def test_equal_clusters_give_equal_bytes() -> None:
    for case in CASES:
        settings = Settings(case.own, case.router_id)
        turned = case.cluster._replace(
            nodes=turned_round(case.cluster.nodes),
            peers=turned_round(case.cluster.peers),
            pools=turned_round(case.cluster.pools),
            affinities=turned_round(case.cluster.affinities),
        )
        assert render(plan(case.cluster, settings, case.passwords).configuration) == render(
            plan(turned, settings, case.passwords).configuration
        )


def test_both_ends_of_a_mesh_agree_on_who_waits() -> None:
    addresses = ["10.0.0.1", "10.0.0.10", "10.0.0.2", "9.1.1.1", "100.0.0.1"]
    nodes = [node(f"n{index}", address) for index, address in enumerate(addresses)]
    waiting = set()
    for own in nodes:
        found = plan(cluster(*nodes), Settings(own.name)).configuration
        waiting |= {(own.ipv4, one.address) for one in found.families[0].sessions if one.passive}
    pairs = {(a, b) for a in addresses for b in addresses if a != b}
    assert {pair for pair in pairs if (pair in waiting) == (pair[::-1] in waiting)} == set()


def test_the_template_is_all_there_is_of_it() -> None:
    import calico.confd

    assert [path.name for path in (Path(calico.confd.__file__).parent / "templates").iterdir()] == ["bird.cfg.jinja"]
