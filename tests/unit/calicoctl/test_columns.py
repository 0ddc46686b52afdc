"""The tables of `calicoctl get`, kind by kind."""

import pytest

from calico.calicoctl.output.columns import ColumnError, Context, custom, headings, rows


@pytest.mark.parametrize(
    ("order", "shown"),
    [(None, "<nil>"), (10, "10"), (10.5, "10.5"), (1000000, "1e+06"), (999999, "999999"), (1234567.5, "1.2345675e+06")],
)
def test_order_is_written_as_go_writes_it(order: float | None, shown: str) -> None:
    policy = {"metadata": {"name": "p"}, "spec": {"selector": "all()", **({} if order is None else {"order": order})}}
    table = rows("NetworkPolicy", [policy], headings("NetworkPolicy", wide=True), Context())
    assert table == [["NAME", "ORDER", "SELECTOR"], ["p", shown, "all()"]]


def test_small_and_negative_orders() -> None:
    policies = [{"metadata": {"name": "p"}, "spec": {"order": order}} for order in (-3.25, 0.00001, 0, -2e7)]
    assert [row[1] for row in rows("GlobalNetworkPolicy", policies, ["NAME", "ORDER"], Context())[1:]] == [
        "-3.25",
        "1e-05",
        "0",
        "-2e+07",
    ]


def test_a_node_inherits_its_as_number_in_brackets() -> None:
    inherits = {"metadata": {"name": "a"}, "spec": {"bgp": {"ipv4Address": "10.0.0.1/24"}}}
    own = {"metadata": {"name": "b"}, "spec": {"bgp": {"asNumber": 65000}}}
    without = {"metadata": {"name": "c"}, "spec": {}}
    table = rows("Node", [inherits, own, without], headings("Node", wide=True), Context(64513))
    assert table[1:] == [["a", "(64513)", "10.0.0.1/24", ""], ["b", "65000", "", ""], ["c", "", "", ""]]


def test_unset_bgp_settings_are_dashes_and_peers_say_where_they_apply() -> None:
    configuration = {"metadata": {"name": "default"}, "spec": {"nodeToNodeMeshEnabled": False}}
    assert rows("BGPConfiguration", [configuration], headings("BGPConfiguration"), Context())[1] == [
        "default",
        "-",
        "false",
        "-",
    ]
    peers = [
        {"metadata": {"name": "g"}, "spec": {"peerIP": "192.0.2.1", "asNumber": 64513}},
        {"metadata": {"name": "s"}, "spec": {"peerIP": "", "asNumber": 0, "nodeSelector": "all()"}},
    ]
    assert rows("BGPPeer", peers, headings("BGPPeer"), Context())[1:] == [
        ["g", "192.0.2.1", "(global)", "64513"],
        ["s", "", "all()", "0"],
    ]


def test_long_lists_are_cut_at_eighty() -> None:
    nets = {"metadata": {"name": "n"}, "spec": {"nets": [f"10.0.{i}.0/24" for i in range(20)]}}
    cell = rows("NetworkSet", [nets], ["NETS"], Context())[1][0]
    assert len(cell) == 80
    assert cell.endswith("...")


def test_namespace_comes_first_where_the_kind_has_one() -> None:
    assert headings("WorkloadEndpoint", namespace=True)[0] == "NAMESPACE"
    assert headings("Node", namespace=True) == ["NAME"]


def test_custom_columns_take_any_heading_of_the_kind() -> None:
    assert custom("WorkloadEndpoint", ["node", "ORCHESTRATOR"]) == ["NODE", "ORCHESTRATOR"]
    with pytest.raises(ColumnError, match="Unknown heading CIDR, valid values are: LABELS, NAME"):
        custom("Profile", ["CIDR"])
