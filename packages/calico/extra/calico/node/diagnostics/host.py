"""Collectors of the host: units and their logs, interfaces and routes, tables, disks, versions, configuration."""

import json
import os
import re
import shlex
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

from calico.felix.dataplane.nft.foreign import our_accepts
from calico.netlink import route
from calico.netlink.nftables.objects import FORWARD
from calico.netlink.nftables.transactions import DumpedChain, Nfnetlink
from calico.netlink.socket import NETLINK_NETFILTER, NETLINK_ROUTE, Netlink
from calico.node.diagnostics.collect import Collected, output_of
from calico.node.diagnostics.facts import Certificate, Clock, Disk, Interface, Unit

UNITS = tuple(
    f"dcos-{name}.service"
    for name in (
        "etcd",
        "calico-guard",
        "calico-node",
        "calico-felix",
        "calico-confd",
        "calico-bird",
        "calico-libnetwork-plugin",
        "setup",
    )
)
_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,NRestarts,StatusText,MainPID,ConditionResult,ConditionTimestampMonotonic"
)
_LOG_LINES = "2000"
PAGES = {
    "felix": "http://127.0.0.1:62091/metrics",
    "confd": "http://127.0.0.1:62092/metrics",
    "etcd": "http://127.0.0.1:2381/metrics",
}
"""Where daemons serve figures, on the ports that `gen` gives them."""

_CLOCK_SLACK = 10.0
_OUR_TABLES = ("cali", "dcos-calico")
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}


class Places(NamedTuple):
    """Where things stand on a node."""

    root: Path = Path("/opt/mesosphere")
    state: Path = Path("/var/lib/calico")
    secrets: Path = Path("/etc/dcos-calico/pki")

    @property
    def configuration(self) -> Path:
        """The rendered files."""
        return self.root / "etc"


def units() -> Collected:
    """State of every unit that is there, and `systemctl status` of each."""
    text = output_of("systemctl", "show", "--property", _PROPERTIES, *UNITS)
    found = []
    for block in text.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if values.get("LoadState") == "loaded":
            found.append(_unit(values))
    if not found and "=" not in text:
        raise RuntimeError(text.strip() or "systemctl says nothing")
    status = (
        output_of("systemctl", "status", "--no-pager", "--lines=0", *(unit.name for unit in found)) if found else ""
    )
    return Collected({"units.txt": text + "\n" + status}, {"units": tuple(found)})


def _unit(values: dict[str, str]) -> Unit:
    def number(name: str) -> int:
        text = values.get(name, "")
        return int(text) if text.isdigit() else 0

    return Unit(
        values.get("Id", ""),
        values.get("ActiveState", ""),
        values.get("SubState", ""),
        values.get("Result", ""),
        number("NRestarts"),
        values.get("StatusText", ""),
        number("MainPID"),
        values.get("ConditionResult") != "no" or number("ConditionTimestampMonotonic") == 0,
    )


def logs() -> Collected:
    """The last lines of each unit's journal."""
    files = {}
    for unit in UNITS:
        text = output_of("journalctl", "--unit", unit, "--lines", _LOG_LINES, "--no-pager", "--output", "short-iso")
        if text.strip() and "-- No entries --" not in text:
            files[f"logs/{unit.removesuffix('.service')}.log"] = text
    return Collected(files)


def network() -> Collected:
    """Interfaces, addresses, routes, neighbours and the tunnels' forwarding tables, by netlink."""
    netlink = Netlink(NETLINK_ROUTE)
    try:
        links = {link.ifindex: link for link in route.list_links(netlink)}
        addresses = route.list_addresses(netlink)
        routes = [each for family in (socket.AF_INET, socket.AF_INET6) for each in route.list_routes(netlink, family)]
        tunnels = [link for link in links.values() if link.kind == "vxlan"]
        neighbours = [each for link in links.values() for each in route.list_neighbours(netlink, link.ifindex)]
        forwarding = [each for link in tunnels for each in route.list_forwarding(netlink, link.ifindex)]
    finally:
        netlink.close()
    files = {
        "network/interfaces.txt": _lines(link._replace(data=b"") for link in links.values()),
        "network/vxlan.txt": _lines(route.read_vxlan(link) for link in tunnels),
        "network/addresses.txt": _lines(addresses),
        "network/routes.txt": _lines(routes),
        "network/neighbours.txt": _lines(neighbours),
        "network/forwarding.txt": _lines(forwarding),
    }
    return Collected(files, {"interfaces": tuple(_interface(link, links, routes) for link in links.values())})


def _interface(link: route.Link, links: dict[int, route.Link], routes: list[route.Route]) -> Interface:
    parent = 0
    if link.kind == "vxlan":
        parent = route.read_vxlan(link).parent or _default(routes)
    elif link.kind == "ipip":
        parent = link.parent or _default(routes)
    name = links[parent].name if parent in links else ""
    return Interface(link.name, link.kind, link.mtu, link.is_up, name)


def _default(routes: list[route.Route]) -> int:
    return next((each.ifindex for each in routes if each.network.prefixlen == 0 and each.network.version == 4), 0)


def _lines(values: Iterable[object]) -> str:
    return "".join(f"{value}\n" for value in values)


def tables(places: Places) -> Collected:
    """nftables with counters, as `nft` prints them, and base chains of others that drop what is forwarded."""
    program = places.root / "bin/nft"
    nft = str(program) if program.exists() else "nft"
    files = {}
    try:
        files["nft.txt"] = output_of(nft, "list", "ruleset")
    except RuntimeError as error:
        files["nft.txt"] = f"{error}\n"
    netlink = Netlink(NETLINK_NETFILTER)
    try:
        kernel = Nfnetlink(netlink)
        mended = {(each.table.family, each.table.name) for each in our_accepts(kernel)}
        drops = [_told(chain) for chain in kernel.chains() if _is_foreign_drop(chain, mended)]
    finally:
        netlink.close()
    return Collected(files, {"drops": tuple(drops)})


def _is_foreign_drop(chain: DumpedChain, mended: set[tuple[int, str]]) -> bool:
    is_ours = chain.table.startswith(_OUR_TABLES)
    is_forward = chain.base is not None and chain.base.hook == FORWARD
    return is_forward and chain.drops and not is_ours and (chain.family, chain.table) not in mended


def _told(chain: DumpedChain) -> str:
    family = _FAMILIES.get(chain.family, str(chain.family))
    return f"table {family} {chain.table} chain {chain.name} (hook forward) has the policy drop"


def disks(
    directories: Iterable[str] = ("/", "/opt/mesosphere", "/var/lib", "/var/lib/dcos/etcd", "/run", "/tmp"),
) -> Collected:
    """Room on the file systems that matter."""
    found: dict[int, Disk] = {}
    for directory in directories:
        try:
            status, device = os.statvfs(directory), os.stat(directory).st_dev
        except OSError:
            continue
        size, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
        found.setdefault(device, Disk(directory, size, free, status.f_files, status.f_favail))
    return Collected({"disks.txt": _lines(found.values())}, {"disks": tuple(found.values())})


def versions(places: Places) -> Collected:
    """The kernel, the distribution, the set that is live."""
    lines = [f"kernel: {' '.join(os.uname())}"]
    release = Path("/etc/os-release")
    lines += [f"system: {release.read_text(errors='replace')}" if release.exists() else "system: unknown"]
    files = {"versions.txt": "\n".join(lines)}
    generation = places.root / "generation.json"
    for name in ("active.buildinfo.full.json", "generation.json", "ledger.json", "journal.json"):
        path = places.root / name
        if path.is_file():
            files[f"node/{name}"] = path.read_text(errors="replace")
    if generation.is_file():
        files["versions.txt"] += f"\nset: {generation.read_text(errors='replace')}"
    return Collected(files)


def configuration(places: Places) -> Collected:
    """The rendered files of Calico and etcd, and what the node keeps of itself; certificates' ends."""
    files = {}
    for top, name in ((places.configuration, "etc"), (places.state, "state")):
        for path in _below(top):
            if path.is_file() and path.stat().st_size < 1 << 20 and _is_wanted(path.relative_to(top)):
                files[f"{name}/{path.relative_to(top)}"] = path.read_text(errors="replace")
    certificates = tuple(map(_certificate, sorted(places.secrets.glob("*.crt"))))
    is_bgp = (places.configuration / "calico/bird_enabled").exists()
    return Collected(files, {"certificates": certificates, "bird_wanted": is_bgp})


def _below(top: Path) -> Iterator[Path]:
    """Every file below, through links too: a generation is made of them."""
    seen = set()
    for directory, names, leaves in os.walk(top, followlinks=True):
        if os.path.realpath(directory) in seen:  # a link that leads to where we were
            names.clear()
            continue
        seen.add(os.path.realpath(directory))
        names.sort()
        yield from (Path(directory, leaf) for leaf in sorted(leaves))


def _is_wanted(path: Path) -> bool:
    return path.suffix not in (".key", ".pem") and "password" not in str(path)


def _certificate(path: Path) -> Certificate:
    """When a certificate ends: the library of `ssl` reads it, by the one function that is not public."""
    try:
        about = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
        return Certificate(str(path), float(ssl.cert_time_to_seconds(about["notAfter"])))
    except (OSError, ValueError) as error:
        return Certificate(str(path), error=str(error))


def etcd(places: Places) -> Collected:
    """On a master, what `dcos-etcdctl diagnostic` says of the members."""
    program = places.root / "bin/dcos-etcdctl"
    if not program.exists():
        return Collected({})
    return Collected({"etcd.txt": output_of(str(program), "diagnostic", seconds=30.0)})


def clocks(pages: Mapping[str, str] = PAGES) -> Collected:
    """The clocks of daemons that serve figures: each puts its own time into the head of every answer."""
    found, lines = [], []
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for daemon, url in pages.items():
        try:
            with opener.open(url, timeout=5) as answer:
                said = str(answer.headers.get("Date", ""))
            ours = time.time()
            at = parsedate_to_datetime(said).timestamp()
        except (OSError, ValueError, TypeError) as error:
            lines.append(f"{daemon}: {error}")
            continue
        lines.append(f"{daemon}: {said}")
        found.append(Clock(f"{daemon} on this node", at, ours, f"the answer of {url}", _CLOCK_SLACK))
    return Collected({"clocks.txt": "\n".join(lines)}, {"clocks": tuple(found)})


def felix_check(places: Places) -> Collected:
    """What in the kernel is not as felix wants it, asked as its unit would: with the unit's environment."""
    program = places.root / "bin/calico-felix"
    if not program.exists():
        raise RuntimeError(f"there is no {program}")
    files = [places.configuration / f"calico/{name}.env" for name in ("calico-node", "calico-node-datastore")]
    given = "set -a; " + "".join(f". {shlex.quote(str(path))}; " for path in files if path.exists())
    command = f'{given}exec "$@"'
    text = output_of("sh", "-c", command, "sh", str(program), "--check", "--format", "json", seconds=45.0)
    match = re.search(r"^\{.*", text, re.DOTALL | re.MULTILINE)
    document = json.loads(match.group()) if match else {}
    return Collected({"felix-check.txt": text}, {"differences": tuple(map(str, document.get("differences", ())))})
