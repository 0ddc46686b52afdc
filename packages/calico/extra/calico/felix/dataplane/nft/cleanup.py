"""Taking away what is ours in nftables: our tables, our accepts in iptables' chains, and nothing else."""

import errno

from calico.felix.dataplane.nft.family import V4, V6
from calico.felix.dataplane.nft.foreign import our_accepts
from calico.felix.dataplane.nft.names import GUARD_TABLE
from calico.felix.dataplane.nft.settings import NftSettings
from calico.netlink.nftables.objects import Table
from calico.netlink.nftables.transactions import Nfnetlink
from calico.netlink.socket import Netlink


def remove_tables(netlink: Netlink, table: str = NftSettings().table) -> list[str]:
    """Remove felix' and the guard's tables and our accepts in one transaction; what it was. Raises OSError."""
    nft = Nfnetlink(netlink)
    for _ in range(_ATTEMPTS):
        accepts, tables = our_accepts(nft), _present(nft, table)
        removal = [operation for one in accepts for operation in one.removal()]
        try:
            nft.commit([*removal, *(one.delete() for one in tables)])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            continue
        return [*map(str, accepts), *map(str, tables)]
    raise OSError(errno.EBUSY, "our tables: somebody else keeps making and removing them")


def present_tables(netlink: Netlink, table: str = NftSettings().table) -> list[str]:
    """What `remove_tables` would remove. Raises OSError."""
    nft = Nfnetlink(netlink)
    return [*map(str, our_accepts(nft)), *map(str, _present(nft, table))]


def _present(nft: Nfnetlink, table: str) -> list[Table]:
    ours = [Table(family.number, name) for family in (V4, V6) for name in (table, GUARD_TABLE)]
    present = set(nft.tables())
    return [one for one in ours if (one.family, one.name) in present]


_ATTEMPTS = 5
