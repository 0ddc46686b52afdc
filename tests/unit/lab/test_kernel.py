"""Which tunnels a configuration asks the kernel for."""

from typing import Any

import pytest

from lab.kernel import tunnel_of


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, "vxlan"),
        ({"calico_vxlan_enabled": True}, "vxlan"),
        ({"calico_vxlan_enabled": False}, "ipip"),
        ({"calico_vxlan_enabled": "false"}, "ipip"),
        ({"calico_enabled": False, "calico_vxlan_enabled": False}, ""),
    ],
)
def test_the_tunnel_of_a_configuration(values: dict[str, Any], kind: str) -> None:
    assert tunnel_of(values) == kind
