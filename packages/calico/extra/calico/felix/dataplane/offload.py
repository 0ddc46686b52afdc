"""Checksum offload of a VXLAN device: the drivers and kernels that get it wrong, and switching it off there.

A wrong checksum loses every packet of a connection but not those of `ping`, so that a tunnel looks well. Known
(issue threads of Calico, 3145, 4727, 4865, 9433): kernels before 5.7 with masqueraded VXLAN packets, and network cards
of VMware (vmxnet3) on any VXLAN port but the old one, 8472.
"""

import array
import contextlib
import fcntl
import os
import socket
import struct

# linux/sockios.h, linux/ethtool.h
_SIOCETHTOOL = 0x8946
_GET_DRIVER, _GET_TX_CHECKSUM, _SET_TX_CHECKSUM = 0x3, 0x16, 0x17
_DRIVER_INFO = 196
_BROKEN_DRIVERS = frozenset(("vmxnet3",))
_SOUND_KERNEL = (5, 7)


def needs_software(release: str, driver: str) -> str:
    """Why the processor must make the checksums; empty where the kernel `release` and the card's `driver` are sound."""
    numbers = release.partition("-")[0].split(".")[:2]
    if all(part.isdigit() for part in numbers) and tuple(map(int, numbers)) < _SOUND_KERNEL:
        return f"kernel {release} miscalculates those of masqueraded packets"
    return f"the network card's driver {driver} miscalculates them" if driver in _BROKEN_DRIVERS else ""


def settle(device: str, parent: str) -> tuple[str, ...]:
    """Switch a tunnel's checksum offload off where it does harm; a complaint where that is needed and impossible."""
    reason = needs_software(os.uname().release, driver_of(parent) if parent else "")
    if not reason or not _get(device, _GET_TX_CHECKSUM):
        return ()
    try:
        _ethtool(device, struct.pack("=II", _SET_TX_CHECKSUM, 0))
    except OSError as error:
        advice = f"run: ethtool -K {device} tx-checksum-ip-generic off"
        return (f"{device}: checksum offload cannot be switched off ({error.strerror}), though {reason}: {advice}",)
    return ()


def driver_of(interface: str) -> str:
    """The driver of an interface; empty where the kernel does not say."""
    with contextlib.suppress(OSError):
        answer = _ethtool(interface, struct.pack("=I", _GET_DRIVER) + bytes(_DRIVER_INFO - 4))
        return answer[4:36].partition(b"\0")[0].decode(errors="replace")
    return ""


def _get(interface: str, command: int) -> int:
    with contextlib.suppress(OSError):
        return int(struct.unpack_from("=II", _ethtool(interface, struct.pack("=II", command, 0)))[1])
    return 0


def _ethtool(interface: str, command: bytes) -> bytes:
    """Ask the driver of an interface of this namespace. Raises OSError."""
    data = array.array("B", command)
    address, _ = data.buffer_info()
    request = struct.pack("16sP16x", interface.encode()[:15], address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        fcntl.ioctl(handle.fileno(), _SIOCETHTOOL, request)
    return data.tobytes()
