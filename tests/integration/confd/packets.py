"""UDP to and from a workload: `echo` answers whatever comes; `flow ADDRESS N` sends at most N numbered packets, ten a
second, and prints how many were sent and which got no answer. Started inside a network namespace.
"""

import contextlib
import json
import select
import socket
import sys
import time

PORT = 4242
_PAUSE = 0.1
_LAST_ANSWERS = 2.0


def echo() -> None:
    """Answer for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.bind(("0.0.0.0", PORT))
        print("listening", flush=True)
        while True:
            content, sender = handle.recvfrom(2048)
            handle.sendto(content, sender)


def flow(address: str, count: int) -> None:
    """Send from one port, as one flow, one packet at least; the end of standard input ends it early."""
    sent, answered = 0, set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.connect((address, PORT))
        handle.setblocking(False)
        until = time.monotonic()
        while sent < count and (not sent or not select.select([sys.stdin], [], [], 0)[0]):
            with contextlib.suppress(OSError):  # an answer of ICMP's to one before: this one has not left
                handle.send(str(sent).encode())
            sent += 1
            until += _PAUSE
            answered |= _answers(handle, until)
        answered |= _answers(handle, time.monotonic() + _LAST_ANSWERS, sent - len(answered))
    print(json.dumps({"sent": sent, "lost": sorted(set(range(sent)) - answered)}), flush=True)


def _answers(handle: socket.socket, until: float, enough: int = 1 << 30) -> set[int]:
    """What comes until then, or until there is enough of it."""
    found: set[int] = set()
    while len(found) < enough and (left := until - time.monotonic()) > 0:
        if select.select([handle], [], [], left)[0]:
            try:
                found.add(int(handle.recv(2048)))
            except OSError:
                time.sleep(0.01)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo()
    else:
        flow(sys.argv[2], int(sys.argv[3]))
