"""IPPool: the addresses workloads get, and how traffic between nodes carries them."""

from typing import NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report
from calico.model.resource import Definition, Resource
from calico.model.schema import FLAG, INTEGER, TEXT, Choice, Flag, Member, Struct, Text

BLOCK_SIZES = {4: (20, 26, 32), 6: (116, 122, 128)}
"""The least, the default and the largest blockSize of each family."""

_LINK_LOCAL = {4: "169.254.0.0/16", 6: "fe80::/10"}


class LegacyIPIP(NamedTuple):
    """The v1 form of IPIP, read only to be refused by name."""

    enabled: bool = False
    mode: str = ""


class IPPoolSpec(NamedTuple):
    """`block_size` 0 and empty modes and selectors stand for the defaults that `prepare` fills in."""

    cidr: str = ""
    vxlan_mode: str = ""
    ipip_mode: str = ""
    nat_outgoing: bool = False
    disabled: bool = False
    block_size: int = 0
    node_selector: str = ""
    legacy_ipip: LegacyIPIP | None = None
    legacy_nat_outgoing: bool = False


_MODE = Choice("Always", "CrossSubnet", "Never")


def _enabled(mode: str) -> bool:
    return mode in ("Always", "CrossSubnet")


def _rule(spec: IPPoolSpec, path: Path, report: Report) -> None:
    if spec.legacy_ipip is not None:
        report.add((*path, "ipip"), "is of the v1 API", "use ipipMode: Always, CrossSubnet or Never")
    if _enabled(spec.ipip_mode) and _enabled(spec.vxlan_mode):
        report.add((*path, "ipipMode"), "ipipMode and vxlanMode cannot both be enabled on the same IP pool")
    if spec.cidr:
        _check_cidr(spec, path, report)


def _check_cidr(spec: IPPoolSpec, path: Path, report: Report) -> None:
    at = (*path, "cidr")
    found = formats.parse_cidr(spec.cidr)
    if found is None:
        report.add(at, f"{spec.cidr!r}: IPPool CIDR must be a valid subnet", "such as 172.29.0.0/16")
        return
    address, network = found
    if address != network.network_address:
        report.add(at, f"{spec.cidr!r}: IPPool CIDR is not strictly masked", f"did you mean {network}?")
    link_local = formats.parse_cidr(_LINK_LOCAL[network.version])
    if link_local and network.overlaps(link_local[1]):
        report.add(at, f"IP pool range overlaps with the link-local range {link_local[1]}")
    _check_block_size(spec, network.version, network.prefixlen, path, report)
    for name, mode in (("ipipMode", spec.ipip_mode), ("vxlanMode", spec.vxlan_mode)):
        if network.version == 6 and _enabled(mode):
            report.add((*path, name), f"{name} other than 'Never' is not supported on an IPv6 IP pool")


def _check_block_size(spec: IPPoolSpec, family: int, prefix: int, path: Path, report: Report) -> None:
    least, default, most = BLOCK_SIZES[family]
    size = spec.block_size or default
    if not least <= size <= most:
        report.add((*path, "blockSize"), f"{size}: must be {least} to {most} for IPv{family}")
    elif prefix > size and not spec.disabled:
        hint = f"a /{prefix} pool needs a blockSize of at least {prefix}"
        report.add(
            (*path, "cidr"), "IP pool size is too small: it must be equal to or greater than the block size", hint
        )


SPEC = Struct(
    IPPoolSpec,
    (
        Member("cidr", TEXT, always=True, required=True),
        Member("vxlanMode", _MODE),
        Member("ipipMode", _MODE),
        Member("natOutgoing", FLAG),
        Member("disabled", FLAG),
        Member("blockSize", INTEGER),
        Member("nodeSelector", Text(formats.selector)),
        Member("ipip", Struct(LegacyIPIP, (Member("enabled", FLAG), Member("mode", TEXT))), optional=True),
        Member("nat-outgoing", Flag(lambda value: "is of the v1 API: use natOutgoing" if value else "")),
    ),
    _rule,
)


def with_read_defaults(resource: Resource[IPPoolSpec]) -> Resource[IPPoolSpec]:
    """The pool with the block size and node selector that older writers left out, as Get and List fill them in."""
    spec = resource.spec
    size = spec.block_size or BLOCK_SIZES[6 if ":" in spec.cidr else 4][1]
    return resource._replace(spec=spec._replace(block_size=size, node_selector=spec.node_selector or "all()"))


def _prepare(resource: Resource[IPPoolSpec]) -> Resource[IPPoolSpec]:
    pool = with_read_defaults(resource)
    spec = pool.spec
    found = formats.parse_cidr(spec.cidr)
    masked = found is not None and found[0] == found[1].network_address
    return pool._replace(
        spec=spec._replace(
            cidr=str(found[1]) if found and masked else spec.cidr,
            ipip_mode=spec.ipip_mode or "Never",
            vxlan_mode=spec.vxlan_mode or "Never",
        )
    )


DEFINITION = Definition(SPEC, formats.name, prepare=_prepare)
