"""The textual formats of resource members: a function for each, giving what is wrong with a text, or "".

Heavy modules are imported where they are used: reading resources from etcd needs none of this.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_BYTE = "[0-9a-fA-F]{2}"
LONGEST_NAME = 253
LONGEST_ANNOTATIONS = 256 * 1024
_DIGITS = frozenset("0123456789")


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


def _is(text: str, pattern: str) -> bool:
    return _pattern(pattern).fullmatch(text) is not None


def name(text: str) -> str:
    """A resource's name: DNS labels joined by dots."""
    if len(text.encode()) > LONGEST_NAME:
        return f"name is too long by {len(text.encode()) - LONGEST_NAME} bytes"
    return "" if _is(text, SUBDOMAIN) else "not a name: lower-case letters, digits, '-' and '.' only, ends alphanumeric"


def label_name(text: str) -> str:
    """A name that is one DNS label, without dots."""
    if len(text) > LONGEST_NAME:
        return name(text)
    return "" if _is(text, LABEL) else "not a name: lower-case letters, digits and '-' only, ends alphanumeric"


def policy_name(text: str) -> str:
    """A NetworkPolicy's name: one label, or one that Kubernetes or OpenStack gave."""
    if len(text) <= LONGEST_NAME and _is(text, rf"(knp|ossg)\.default\.{SUBDOMAIN}"):
        return ""
    return label_name(text)


def container_id(text: str) -> str:
    """A container's id."""
    fits = _is(text, r"[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?")
    return "" if fits else "not a container id: letters, digits and '-' only, ends alphanumeric"


def qualified_name(text: str) -> str:
    """A label or annotation key: `name` or `dns.prefix/name`."""
    prefix, slash, last = text.rpartition("/")
    if slash and (len(prefix) > LONGEST_NAME or not _is(prefix, SUBDOMAIN)):
        return f"key {text!r}: {prefix!r} is not a DNS name"
    if not 1 <= len(last) <= 63 or not _is(last, _QUALIFIED):
        return f"key {text!r}: the name must be 1 to 63 letters, digits, '-', '_' and '.', ends alphanumeric"
    return ""


def label(key: str, value: str) -> str:
    """A label and its value."""
    if message := qualified_name(key):
        return message
    if len(value) > 63 or not _is(value, f"({_QUALIFIED})?"):
        return f"value {value!r} must be at most 63 letters, digits, '-', '_' and '.', ends alphanumeric"
    return ""


def annotation(key: str, _value: str) -> str:
    """An annotation's key, in any case."""
    return qualified_name(key.lower())


def interface(text: str) -> str:
    """An interface's name, or `*`."""
    return "" if text == "*" or _is(text, r"[a-zA-Z0-9_.-]{1,15}") else "not an interface name of at most 15 characters"


def interface_filter(text: str) -> str:
    """An interface name as iptables matches it."""
    return "" if _is(text, r"[a-zA-Z0-9:._+-]{1,15}") else "not an interface filter of at most 15 characters"


def listen_host(text: str) -> str:
    """A host to listen on."""
    return "" if _is(text, r"[a-zA-Z0-9:._+-]{1,64}") else "not a host name or address"


def port_name(text: str) -> str:
    """A named port."""
    good = _is(text, r"[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?") and "--" not in text and not text.isdigit()
    return "" if good else "not a port name: at most 15 lower-case letters, digits and single '-', one letter at least"


def region(text: str) -> str:
    """An OpenStack region that fits into a namespace's name."""
    return "" if len(text) <= 46 and _is(text, LABEL) else "not a DNS label of at most 46 characters"


_MAC_FORMS = tuple(rf"{digits}({mark}{digits})*" for digits, mark in ((_BYTE, ":"), (_BYTE, "-"), (_BYTE * 2, r"\.")))


def mac(text: str) -> str:
    """A hardware address of 6, 8 or 20 bytes, in colon, dash or dot form."""
    digits = sum(char not in ":-." for char in text)
    fits = digits in (12, 16, 40) and any(_is(text, form) for form in _MAC_FORMS)
    return "" if fits else "not a MAC address"


def wireguard_key(text: str) -> str:
    """32 bytes in base64."""
    import base64

    try:
        return "" if len(base64.b64decode(text, validate=True)) == 32 else "not a key of 32 bytes"
    except ValueError:
        return "not base64"


def regex(text: str) -> str:
    """A regular expression."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}"
    return ""


def plain_file(text: str) -> str:
    """The plain name of a file: no directories, no dot files."""
    return "" if _is(text, r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}") else "not a plain file name"


def selector(text: str) -> str:
    """A label selector."""
    from calico.selector.parser import SelectorError, parse

    try:
        parse(text)
    except SelectorError as error:
        return str(error)
    return ""


def parse_ip(text: str) -> "IPv4Address | IPv6Address | None":
    """A bare address without a zone; None when `text` is none."""
    from ipaddress import ip_address

    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def parse_cidr(text: str) -> "tuple[IPv4Address | IPv6Address, IPv4Network | IPv6Network] | None":
    """`address/length` as its address and its network; None when `text` is no such thing."""
    from ipaddress import ip_network

    address_text, slash, length = text.partition("/")
    address = parse_ip(address_text)
    if address is None or not slash or not length or not _DIGITS.issuperset(length):
        return None
    try:
        return address, ip_network((address, int(length)), strict=False)
    except ValueError:
        return None


def parse_cidr_or_ip(text: str) -> "tuple[IPv4Address | IPv6Address, IPv4Network | IPv6Network] | None":
    """As `parse_cidr`; a bare address is its own network."""
    if "/" in text:
        return parse_cidr(text)
    address = parse_ip(text)
    return parse_cidr(f"{address}/{address.max_prefixlen}") if address else None


def ip(text: str) -> str:
    """A bare address."""
    return "" if parse_ip(text) else "not an IP address"


def ipv4(text: str) -> str:
    """A bare IPv4 address."""
    address = parse_ip(text)
    return "" if address and address.version == 4 else "not an IPv4 address"


def ipv6(text: str) -> str:
    """A bare IPv6 address."""
    address = parse_ip(text)
    return "" if address and address.version == 6 else "not an IPv6 address"


def cidr(text: str) -> str:
    """An address with or without a prefix length."""
    return "" if parse_cidr_or_ip(text) else "not an address or CIDR"


def cidrv4(text: str) -> str:
    """An IPv4 address with or without a prefix length."""
    found = parse_cidr_or_ip(text)
    return "" if found and found[0].version == 4 else "not an IPv4 address or CIDR"


def cidrv6(text: str) -> str:
    """An IPv6 address with or without a prefix length."""
    found = parse_cidr_or_ip(text)
    return "" if found and found[0].version == 6 else "not an IPv6 address or CIDR"


def net(text: str) -> str:
    """A network without host bits, or a bare address."""
    found = parse_cidr_or_ip(text)
    if not found:
        return "not an address or CIDR"
    address, network = found
    return "" if address == network.network_address else f"not a network: host bits are set, did you mean {network}?"
