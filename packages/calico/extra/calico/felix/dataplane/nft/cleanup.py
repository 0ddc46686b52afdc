"""Taking away what is ours in nftables: our tables, and nothing else."""

import errno

from calico.felix.dataplane.nft.family import V4, V6
from calico.felix.dataplane.nft.names import GUARD_TABLE
from calico.felix.dataplane.nft.settings import NftSettings
from calico.netlink.nftables.objects import Table
from calico.netlink.nftables.transactions import Nfnetlink
from calico.netlink.socket import Netlink


def remove_tables(netlink: Netlink, table: str = NftSettings().table) -> list[str]:
    """Remove felix' and the guard's tables in one transaction; their names. Raises OSError."""
    nft = Nfnetlink(netlink)
    for _ in range(_ATTEMPTS):
        found = _present(nft, table)
        try:
            nft.commit([one.delete() for one in found])
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            continue
        return [str(one) for one in found]
    raise OSError(errno.EBUSY, "our tables: somebody else keeps making and removing them")


def present_tables(netlink: Netlink, table: str = NftSettings().table) -> list[str]:
    """The names of felix' and the guard's tables that are there. Raises OSError."""
    return [str(one) for one in _present(Nfnetlink(netlink), table)]


def _present(nft: Nfnetlink, table: str) -> list[Table]:
    ours = [Table(family.number, name) for family in (V4, V6) for name in (table, GUARD_TABLE)]
    present = set(nft.tables())
    return [one for one in ours if (one.family, one.name) in present]


_ATTEMPTS = 5
