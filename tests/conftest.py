"""What every suite starts from."""

import os
import signal

import pytest

_SOAK_TIMEOUT = 3600


def pytest_configure() -> None:
    """Let ^C reach what tests start: a shell's background job ignores it, and so would every program begun from one."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests the time that larger counts need under `make soak`."""
    if os.environ.get("DCOS_CALICO_SOAK"):
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(_SOAK_TIMEOUT))
