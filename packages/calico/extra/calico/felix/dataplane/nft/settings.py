"""What felix' configuration asks of the packet filter, by upstream's names in the comments."""

from typing import Literal, NamedTuple

ToHost = Literal["DROP", "RETURN", "ACCEPT"]
TCP, UDP, SCTP, UDPLITE = 6, 17, 132, 136


class ProtoPort(NamedTuple):
    """A protocol by number, and a port."""

    protocol: int
    port: int


def _ports(*pairs: tuple[int, int]) -> tuple[ProtoPort, ...]:
    return tuple(ProtoPort(*pair) for pair in pairs)


_INBOUND = _ports((TCP, 22), (UDP, 68), (TCP, 179), (TCP, 2379), (TCP, 2380), (TCP, 6666), (TCP, 6667))
_OUTBOUND = _ports((UDP, 53), (UDP, 67), (TCP, 179), (TCP, 2379), (TCP, 2380), (TCP, 6666), (TCP, 6667))


class NftSettings(NamedTuple):
    """The defaults are upstream's. A change of any is a new `Tables`, whose first write changes what differs."""

    table: str = "calico"
    ipv6: bool = True  # Ipv6Support
    interface_prefixes: tuple[str, ...] = ("cali",)  # InterfacePrefix
    mark_mask: int = 0xFFFF0000  # IptablesMarkMask
    insert: bool = True  # ChainInsertMode: before the usual priorities, else behind them
    endpoint_to_host: ToHost = "DROP"  # DefaultEndpointToHostAction
    check_invalid: bool = True  # not DisableConntrackInvalidCheck
    log_prefix: str = "calico-packet"  # LogPrefix
    vxlan_enabled: bool = False  # VXLANEnabled
    vxlan_port: int = 4789  # VXLANPort
    vxlan_vni: int = 4096  # VXLANVNI
    vxlan_address: str = ""  # IPv4VXLANTunnelAddr
    ipip_enabled: bool = False  # IpInIpEnabled
    ipip_address: str = ""  # IpInIpTunnelAddr
    failsafe_inbound: tuple[ProtoPort, ...] = _INBOUND  # FailsafeInboundHostPorts
    failsafe_outbound: tuple[ProtoPort, ...] = _OUTBOUND  # FailsafeOutboundHostPorts
    nat_ports: tuple[int, int] | None = None  # NATPortRange
    nat_address: str = ""  # NATOutgoingAddress
    nat_interface: str = ""  # IptablesNATOutgoingInterfaceFilter; may end in +
    external_nodes: tuple[str, ...] = ()  # ExternalNodesCIDRList

    @property
    def accepted(self) -> int:
        """The mark bit of a packet that a policy or profile allowed."""
        return self.mark_mask & -self.mark_mask

    @property
    def passed(self) -> int:
        """The mark bit of a packet that a policy passed on to the profiles."""
        rest = self.mark_mask & ~self.accepted
        return rest & -rest


VXLAN_DEVICE, IPIP_DEVICE = "vxlan.calico", "tunl0"
