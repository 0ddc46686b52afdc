"""`lab up` in IPIP mode, where the kernel has no IPIP: told at once, with what to do, and nothing made."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

PROBE = ["unshare", "--net", "ip", "link", "add", "name", "probe", "type", "ipip", "local", "127.0.0.1"]


def test_a_kernel_without_ipip_is_named_before_anything_is_made(tmp_path: Path) -> None:
    if subprocess.run(PROBE, capture_output=True, check=False).returncode == 0:
        pytest.skip("this kernel has ipip")
    config = tmp_path / "config.yaml"
    config.write_text("cluster_name: x\nmaster_list: [10.99.0.1]\ncalico_vxlan_enabled: false\n")
    program = "import sys; from lab.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "up", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (1, 3)
    assert "this machine's kernel lacks ipip" in done.stderr
    assert "modprobe ipip" in done.stderr
    assert "calico_vxlan_enabled: true" in done.stderr
    assert "Traceback" not in done.stderr
