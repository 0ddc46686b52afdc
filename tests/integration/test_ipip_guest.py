"""felix over IPIP on a kernel that has it: tests/integration/felix/test_ipip.py inside a machine of its own."""

import compileall
import os
import sys
from pathlib import Path

import pytest

from tests.servers import debian
from tests.servers.etcd import program
from tests.servers.qemu import Guest, environment, lacks_ipip

pytestmark = [pytest.mark.root, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/integration/felix/test_ipip.py"


@pytest.mark.soak
@pytest.mark.skipif(not os.environ.get("DCOS_CALICO_SOAK"), reason="an emulated machine takes two minutes: make soak")
def test_ipip_in_a_guest() -> None:
    if not lacks_ipip():
        pytest.skip(f"this kernel has ipip: {TESTS} runs here")
    program("etcd")  # nothing can be fetched inside
    compiled = debian.cache() / "compiled"
    for directory in (ROOT / "packages/calico/extra/calico", ROOT / "tests"):
        sys.pycache_prefix = str(compiled)
        try:
            compileall.compile_dir(directory, quiet=2, workers=1)
        finally:
            sys.pycache_prefix = None
    options = "-q --color=no -p no:xdist -p no:randomly --basetemp=/run/pytest --durations=5"
    script = f"{sys.executable} -m pytest {options} {TESTS}"
    variables = {**environment(), "PYTHONPYCACHEPREFIX": str(compiled)}
    result = Guest().run(script, ROOT, variables, timeout=1200)
    assert result.status == 0, result.output
    assert "5 passed" in result.output, result.output
