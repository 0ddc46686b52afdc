"""What every suite starts from."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
_SOAK_TIMEOUT = 3600

# A busy machine is no finding: examples may take their time, here and in what they draw. The same examples every run,
# except in a soak, which looks for new ones.
settings.register_profile(
    "dcos-calico",
    deadline=None,
    derandomize=not _SOAK,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("dcos-calico")


def pytest_configure() -> None:
    """Let ^C reach what tests start: a shell's background job ignores it, and so would every program begun from one."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests the time that larger counts need under `make soak`."""
    if _SOAK:
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_SOAK_TIMEOUT))
