"""What every suite starts from."""

import signal


def pytest_configure() -> None:
    """Let ^C reach what tests start: a shell's background job ignores it, and so would every program begun from one."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
