"""What a lab needs of its machine: programs, and tunnels of the kernel."""

from pathlib import Path
from typing import Any

import pytest

from lab.instance import Refusal
from lab.kernel import check_programs, tunnel_of


def test_what_is_missing_is_told_at_once_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ip", "mmdebstrap", "nft", "systemd-nspawn"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check_programs()
    (tmp_path / "nft").unlink()
    (tmp_path / "systemd-nspawn").unlink()
    with pytest.raises(Refusal, match="lacks nft, systemd-nspawn: apt-get install nftables systemd-container"):
        check_programs()


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
