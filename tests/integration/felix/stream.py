"""A stream of numbered UDP packets, as a program: `send ADDRESS PORT` a thousand a second, `receive PORT`.

Each ends at SIGTERM and prints one JSON object: what was sent, or how many different packets came and which are missing
up to the last one.
"""

import json
import signal
import socket
import struct
import sys
import time

_PERIOD = 0.001
_FORCE_BUFFER = 33


def _send(address: str, port: int) -> dict[str, object]:
    """Send until told to end. What the kernel refuses at once counts as not sent, and is told."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    number = refused = 0
    start = time.monotonic()
    while not _ended:
        try:
            sender.sendto(struct.pack(">Q", number), (address, port))
        except OSError:
            refused += 1
        number += 1
        if (wait := start + number * _PERIOD - time.monotonic()) > 0:
            time.sleep(wait)
    return {"sent": number, "refused": refused}


def _receive(port: int) -> dict[str, object]:
    """Receive until told to end, and what still comes in the second after that."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, _FORCE_BUFFER, 1 << 24)
    receiver.bind(("", port))
    receiver.settimeout(0.2)
    print("ready", flush=True)
    seen: set[int] = set()
    until = 0.0
    while not _ended or time.monotonic() < until:
        if _ended and not until:
            until = time.monotonic() + 1.0
        try:
            seen.add(struct.unpack(">Q", receiver.recv(64))[0])
        except TimeoutError:
            until = until or (time.monotonic() + 1.0 if _ended else 0.0)
    last = max(seen, default=-1)
    missing = [number for number in range(last + 1) if number not in seen]
    return {"received": len(seen), "last": last, "missing": missing[:20], "lost": len(missing)}


_ended: list[int] = []
signal.signal(signal.SIGTERM, lambda *_: _ended.append(1))

if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(_send(words[1], int(words[2])) if words[0] == "send" else _receive(int(words[1]))), flush=True)
