"""How each kind of parameter is read: upstream's strings to native values, and the form a value of that kind has.

A reader (`read_*`) gives the native value, or what it was given where it cannot; a form (`*_fault`) returns what is
wrong with a value of the right type, or None. The cerberus schema (`gen.schema`) is put together from these.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gen.document import Mangled
from pkgpanda.errors import PandaError
from pkgpanda.keys import PublicKey

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<rest>.*)", re.DOTALL
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Fault(NamedTuple):
    """What is wrong with a value: a stable code, the sentence, what to do."""

    code: str
    message: str
    hint: str = ""


def shown(value: object) -> str:
    """A value as a message quotes it, cut where it is long."""
    if isinstance(value, Mangled):
        return f"`{value.text}`"
    is_json = isinstance(value, bool | list | dict)
    text = json.dumps(value, ensure_ascii=False, default=lambda inner: inner.text) if is_json else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_flag(value: Any) -> Any:
    """Upstream's "true" and "false"."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def read_number(value: Any) -> Any:
    """Upstream's decimal string."""
    return int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value


def read_text(value: Any) -> Any:
    """A whole number where text is wanted: `cluster_name: 7`."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def read_list(value: Any) -> Any:
    """Upstream's JSON string of a list."""
    return _read_json(value, list)


def read_mapping(value: Any) -> Any:
    """Upstream's JSON string of an object."""
    return _read_json(value, dict)


def _read_json(value: Any, wanted: type) -> Any:
    if not isinstance(value, str):
        return value
    try:
        made = json.loads(value, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        return value
    return made if isinstance(made, wanted) else value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the key "{doubled}" is given twice')
    return made


def read_address6(value: Any) -> Any:
    """An IPv6 address in its shortest form."""
    try:
        return str(ipaddress.IPv6Address(value)) if isinstance(value, str) else value
    except ValueError:
        return value


def read_script(value: Any) -> Any:
    """A script's text, ended by one newline."""
    return value.rstrip("\n") + "\n" if isinstance(value, str) and value else value


def type_fault(value: object, wanted: str) -> Fault:
    """Why `value` is not of the type `wanted` (a cerberus type of `gen.schema`)."""
    if isinstance(value, Mangled):
        return Fault("yaml", value.message, value.hint)
    return _TYPE_FAULTS[wanted](value)


def _flag_fault(value: object) -> Fault:
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false", "1": "true", "0": "false"}
    guess = str(value).strip().lower()
    guess = meant.get(guess, guess)
    hint = f"write {guess}" if guess in ("true", "false") else "write true or false"
    return Fault("type", f"must be true or false, not {shown(value)}", hint)


def _number_fault(value: object) -> Fault:
    hint = "write decimal digits"
    if isinstance(value, str):
        bare = value.strip().replace("_", "").lstrip("+")
        digits = "".join(str(int(char)) if char.isdecimal() else char for char in bare)
        if value and not value.isascii() and digits.isascii() and digits.isdecimal():
            return Fault("digits", f"{shown(value)} has digits other than 0 to 9", f"write {int(digits)}")
        if digits.isascii() and digits.isdecimal() and len(digits) < 19:
            hint = f"write {int(digits)}"
    return Fault("type", f"must be a whole number, not {shown(value)}", hint)


def _text_fault(value: object) -> Fault:
    if isinstance(value, bool | int | float):
        return Fault("type", f"must be text, not {shown(value)}", "put it in quotes")
    return Fault("type", f"must be text, not {_what(value)}")


def _list_fault(value: object) -> Fault:
    if isinstance(value, str):
        return Fault(
            "type", f"must be a list, not {shown(value)}{_json_trouble(value)}", "write a line `- VALUE` for each"
        )
    return Fault("type", f"must be a list, not {_what(value)}", "write a line `- VALUE` for each")


def _mapping_fault(value: object) -> Fault:
    trouble = _json_trouble(value) if isinstance(value, str) else ""
    what = shown(value) if isinstance(value, str) else _what(value)
    return Fault("type", f"must be a mapping (or its JSON text), not {what}{trouble}", "see gen explain")


def _json_trouble(text: str) -> str:
    if text.lstrip()[:1] not in ("[", "{"):
        return ""
    try:
        json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        return f": not JSON at its line {error.lineno}, column {error.colno}"
    except ValueError as error:
        return f": {error}"
    except RecursionError:
        return ": nested too deep"
    return ""


def _what(value: object) -> str:
    names = {list: "a list", dict: "a mapping", type(None): "null"}
    return names.get(type(value)) or shown(value)


_TYPE_FAULTS: dict[str, Callable[[object], Fault]] = {
    "flag": _flag_fault,
    "number": _number_fault,
    "text": _text_fault,
    "items": _list_fault,
    "members": _mapping_fault,
}


def _space_fault(value: str) -> Fault | None:
    if value != value.strip():
        return Fault("whitespace", f"{shown(value)} has spaces around it", f"write {value.strip()}")
    return None


def name_fault(value: str) -> Fault | None:
    """Any printable text that is not empty."""
    if not value:
        return Fault("empty", "must not be empty", "give it a name")
    if not value.isprintable():
        return Fault(
            "format", f"{shown(value)} has a line break or another control character", "use one printable line"
        )
    return _space_fault(value)


def path_fault(value: str) -> Fault | None:
    """A file name: one printable line without spaces at its ends."""
    return name_fault(value)


def script_fault(value: str) -> Fault | None:
    """A program text that the kernel can start."""
    if not value.startswith("#!"):
        return Fault("script", "the script does not start with #!", "make `#!/usr/bin/env bash` its first line")
    return None


def address4_fault(value: str) -> Fault | None:
    """An IPv4 address in the usual dotted form."""
    return _address_fault(value, 4)


def address6_fault(value: str) -> Fault | None:
    """An IPv6 address."""
    return _address_fault(value, 6)


def _address_fault(value: str, version: int) -> Fault | None:
    if fault := _space_fault(value):
        return fault
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        hint = _without_zeros(value) if version == 4 else ""
        return Fault("address", f"{shown(value)} is not an IPv{version} address", hint)
    if address.version != version:
        return Fault("family", f"{value} is an IPv{address.version} address; IPv{version} is wanted here")
    if "%" in value:
        return Fault("address", f"{shown(value)} has a zone", f"write {value.partition('%')[0]}")
    return None


def _without_zeros(value: str) -> str:
    """A hint for `010.0.0.1`, which some programs read as octal."""
    address, slash, prefix = value.partition("/")
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) < 5 for part in parts):
        return ""
    better = ".".join(str(int(part)) for part in parts)
    return f"write {better}{slash}{prefix}" if better != address else "each of the four numbers is at most 255"


def network4_fault(value: str) -> Fault | None:
    """An IPv4 network as address/prefix, without host bits."""
    return _network_fault(value, 4)


def network6_fault(value: str) -> Fault | None:
    """An IPv6 network as address/prefix, without host bits."""
    return _network_fault(value, 6)


def _network_fault(value: str, version: int) -> Fault | None:
    bare = "".join(value.split())
    if bare != value:
        return Fault("whitespace", f"{shown(value)} has spaces in it", f"write {bare}")
    address, slash, prefix = value.partition("/")
    if not slash:
        return _bare_fault(value, version)
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return _broken_network_fault(value, address, prefix, version)
    if network.version != version:
        return Fault("family", f"{value} is an IPv{network.version} network; IPv{version} is wanted here")
    if not (prefix.isascii() and prefix.isdecimal() and prefix == str(network.prefixlen)):
        return Fault("netmask", f"{value} does not end in a plain prefix length", f"write {network}")
    if ipaddress.ip_address(address) != network.network_address:
        return Fault("host-bits", f"{value} has host bits set: the network is {network}", f"write {network}")
    return None


def _bare_fault(value: str, version: int) -> Fault:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return Fault("network", f"{shown(value)} is not an IPv{version} network", "write ADDRESS/PREFIX")
    if address.version != version:
        return Fault("family", f"{value} is an IPv{address.version} address; an IPv{version} network is wanted here")
    octet = 8 if version == 4 else 16
    trailing = (int(address) & -int(address)).bit_length() - 1 if int(address) else address.max_prefixlen
    prefix = address.max_prefixlen - trailing // octet * octet
    return Fault("bare-address", f"{value} is an address without a prefix length", f"write {address}/{prefix}")


def _broken_network_fault(value: str, address: str, prefix: str, version: int) -> Fault:
    longest = 32 if version == 4 else 128
    try:
        ipaddress.ip_address(address)
    except ValueError:
        hint = _without_zeros(value) if version == 4 else ""
        return Fault("network", f"{shown(value)} is not an IPv{version} network", hint or "write ADDRESS/PREFIX")
    return Fault("prefix", f"{shown(prefix)} is not a prefix length", f"a number from 0 to {longest} follows the slash")


def mac_fault(value: str) -> Fault | None:
    """Six octets of a unicast MAC address."""
    if not _MAC.fullmatch(value):
        return Fault("mac", f"{shown(value)} is not a MAC address", "write six octets, such as 70:B3:D5:00:00:00")
    if int(value[:2], 16) & 1:
        return Fault("mac", f"{value} is a multicast MAC address", "the first octet must be even")
    return None


def overlay_name_fault(value: str) -> Fault | None:
    """A name that fits a Linux interface with the two characters the overlay puts before it."""
    if not 1 <= len(value) <= 13:
        return Fault("name-length", f"the name has {len(value)} characters", "use 1 to 13")
    if not value.isascii() or not value.isprintable() or any(char in value for char in " /:"):
        return Fault("name-characters", f"{shown(value)} cannot be part of an interface name", "no spaces, / or :")
    return None


def host_port(text: str) -> tuple[str, str]:
    """Split `host:port` or `[v6]:port`; the port is empty where none is given."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    host, colon, port = text.rpartition(":")
    return (host, port) if colon and text.count(":") == 1 else (text, "")


def _port_fault(port: str) -> Fault | None:
    if port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535:
        return None
    return Fault("port", f"{shown(port)} is not a port", "use 1 to 65535")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _host_fault(host: str) -> Fault | None:
    looks_numeric = host.replace(".", "").isdecimal()
    if _is_address(host) or (_HOST.fullmatch(host) and not looks_numeric):
        return None
    return Fault("host", f"{shown(host)} is neither an address nor a host name", "")


def url_fault(value: str) -> Fault | None:
    """http://host[:port][/path], the same with https, or file:///path."""
    if fault := _space_fault(value):
        return fault
    found = _URL.fullmatch(value)
    if not found or found["scheme"] not in ("http", "https", "file"):
        return Fault("url", f"{shown(value)} is no http, https or file URL", "write http://HOST[:PORT][/PATH]")
    if not value.isascii() or not value.isprintable() or any(char in value for char in " \"'`$\\<>|;&(){}"):
        return Fault("url", f"{shown(value)} has characters a URL may not have", "percent-encode them")
    if found["rest"]:
        return Fault("url", "must have no query or fragment", f"write {value.removesuffix(found['rest'])}")
    return _file_url_fault(found) if found["scheme"] == "file" else _authority_fault(found["authority"])


def _file_url_fault(found: re.Match[str]) -> Fault | None:
    if found["authority"] or len(found["path"]) < 2:
        return Fault("url", f"{shown(found.group())} names no folder on the node", "write file:///PATH")
    return None


def _authority_fault(authority: str) -> Fault | None:
    if "@" in authority:
        return Fault("url", "must hold no user or password", "serve the bundle without a password")
    host, port = host_port(authority)
    if fault := _host_fault(host):
        return fault
    return _port_fault(port) if port or authority.endswith(":") else None


def endpoints_fault(value: str) -> Fault | None:
    """`host:port`, several separated by commas."""
    if value != "".join(value.split()):
        return Fault("whitespace", f"{shown(value)} has spaces in it", f"write {''.join(value.split())}")
    for each in value.split(","):
        host, port = host_port(each)
        if not port:
            return Fault("endpoint", f"{shown(each)} is not host:port", f"write {each or 'HOST'}:2181")
        if fault := _host_fault(host) or _port_fault(port):
            return fault
    return None


def resolver_fault(value: str) -> Fault | None:
    """An address of a DNS server, IPv4 or IPv6, with `:port` behind it where it is not 53."""
    if fault := _space_fault(value):
        return fault
    host, port = host_port(value)
    if not _is_address(host):
        return Fault("address", f"{shown(value)} is not an address of a DNS server", "write ADDRESS or ADDRESS:PORT")
    return _port_fault(port) if port or value.endswith(":") else None


def key_fault(value: str) -> Fault | None:
    """A public key that releases are signed with: `ed25519:` and 64 hexadecimal digits."""
    try:
        PublicKey.parse(value)
    except PandaError as error:
        return Fault("key", f"{shown(value)} is no public key", error.problems[0].hint)
    return None


def node_fault(value: str) -> Fault | None:
    """An IPv4 address that a node can have."""
    if fault := address4_fault(value):
        return fault
    address = ipaddress.IPv4Address(value)
    if address in ipaddress.IPv4Network("0.0.0.0/8"):
        return Fault("node-address", f"{value} is in 0.0.0.0/8: no node has it", "write the address ip-detect prints")
    for is_it, what in (
        (address.is_loopback, "loopback"),
        (address.is_multicast, "multicast"),
        (address.is_link_local, "link-local"),
        (int(address) == 0xFFFFFFFF, "the broadcast"),
    ):
        if is_it:
            message = f"{value} is {what} address space: no other node reaches it"
            return Fault("node-address", message, "write the address ip-detect prints")
    return None
