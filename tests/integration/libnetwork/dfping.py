"""An echo request with DF set: `dfping.py <address> <size of the packet>`; prints `reply`, `mtu <n>` or `nothing`.

Sent twice where the first is answered with what fits: from then on the kernel knows, and refuses to send.
"""

import os
import socket
import struct
import sys
import time

_IP_MTU_DISCOVER, _IP_PMTUDISC_DO, _IP_MTU = 10, 2, 14
_ADDRESS, _SIZE = sys.argv[1], int(sys.argv[2])


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _ask(number: int) -> str:
    body = b"x" * (_SIZE - 28)
    body += b"x" * (len(body) % 2)
    head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, number)
    packet = struct.pack("!BBHHH", 8, 0, _checksum(head + body), os.getpid() & 0xFFFF, number) + body
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as handle:
        handle.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DO)
        handle.connect((_ADDRESS, 0))
        handle.settimeout(1)
        try:
            handle.send(packet)
            until = time.monotonic() + 2
            while time.monotonic() < until:
                answer = handle.recv(65536)
                if answer[20] == 0 and len(answer) == _SIZE:
                    return "reply"
        except TimeoutError:
            pass
        except OSError:  # EMSGSIZE
            return f"mtu {handle.getsockopt(socket.IPPROTO_IP, _IP_MTU)}"
    return "nothing"


for _number in range(10):
    _said = _ask(_number)
    if _said != "nothing":
        break
print(_said)
