"""Nodes, resolvers, and which parameters go together."""

from collections.abc import Iterator

from gen.checks.facts import NODE_LISTS, Facts
from gen.kinds import host_port, shown
from gen.problems import Finding, Path

_SPARTAN = ("198.51.100.1", "198.51.100.2", "198.51.100.3")
_QUORUMS = (1, 3, 5, 7, 9)


def masters(facts: Facts) -> Iterator[Finding]:
    """An odd number of masters, so that half of them is never a majority."""
    if not facts.is_set("master_list"):
        return
    count = len(facts.values["master_list"])
    if count not in _QUORUMS:
        message = f"lists {count} masters" if count else "lists no master"
        yield Finding((("master_list",),), "master-count", message, "use 1, 3, 5, 7 or 9")


def masters_are_needed(facts: Facts) -> Iterator[Finding]:
    """Static discovery of anything needs the masters' addresses."""
    users: list[Path] = []
    if facts.has("master_discovery") and facts.values["master_discovery"] == "static":
        users.append(("master_discovery",))
    if facts.values["calico_enabled"] is True and facts.values["calico_etcd_discovery"] == "static":
        users.append(("calico_etcd_discovery",))
    if users and "master_list" not in facts.given:
        named = " and ".join(f"{user[0]}: static" for user in users)
        message = f"must be set: {named} needs the masters' addresses"
        yield Finding((("master_list",), *users), "missing", message, "list 1, 3, 5, 7 or 9 addresses")


def nodes_are_unique(facts: Facts) -> Iterator[Finding]:
    """A node has one role and is listed once."""
    seen: dict[str, Path] = {}
    for name in NODE_LISTS:
        for index, address in facts.addresses(name):
            path: Path = (name, index)
            if address in seen:
                message = f"{address} is listed twice, in {seen[address][0]} and {name}"
                yield Finding((path, seen[address]), "duplicate-node", message, "list each node once")
            seen.setdefault(address, path)


def resolvers(facts: Facts) -> Iterator[Finding]:
    """DC/OS's own DNS forwarder cannot be its own upstream."""
    for index, resolver in facts.addresses("resolvers"):
        if host_port(resolver)[0] in _SPARTAN:
            message = f"{shown(resolver)} is DC/OS's own DNS forwarder"
            yield Finding((("resolvers", index),), "resolver", message, "name the servers it shall ask")
    if facts.is_set("resolvers") and not facts.values["resolvers"]:
        yield Finding((("resolvers",),), "resolver", "lists no DNS server", "list one, or remove the key")


def one_ip_detect(facts: Facts) -> Iterator[Finding]:
    """The script is given once."""
    pair = ("ip_detect_contents", "ip_detect_filename")
    if facts.given.issuperset(pair):
        yield Finding(((pair[0],), (pair[1],)), "either-or", "only one of the two can be given", "remove one")


def ipv6_flags(facts: Facts) -> Iterator[Finding]:
    """Without IPv6 the load balancer has none either."""
    pair = ("enable_ipv6", "dcos_l4lb_enable_ipv6")
    if facts.has(*pair) and not facts.values[pair[0]] and facts.values[pair[1]]:
        message = "dcos_l4lb_enable_ipv6 is true while enable_ipv6 is false"
        yield Finding(((pair[1],), (pair[0],)), "ipv6", message, "set dcos_l4lb_enable_ipv6 to false, or remove it")
