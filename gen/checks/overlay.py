"""The overlay networks within themselves."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from gen.checks.facts import Facts
from gen.problems import ERROR, WARNING, Finding, Path

_NETWORK = "dcos_overlay_network"


def subnets(facts: Facts) -> Iterator[Finding]:
    """Each overlay has a subnet, and with each the prefix length of an agent's share."""
    for index, overlay in facts.overlays():
        path: Path = (_NETWORK, "overlays", index)
        if "subnet" not in overlay and "subnet6" not in overlay:
            yield Finding((path,), "missing", "the overlay has neither subnet nor subnet6", "add one")
        for subnet, prefix in (("subnet", "prefix"), ("subnet6", "prefix6")):
            yield from _prefix(overlay, subnet, prefix, path)


def _prefix(overlay: Mapping[str, Any], subnet: str, prefix: str, path: Path) -> Iterator[Finding]:
    if subnet not in overlay:
        if prefix in overlay:
            yield Finding(((*path, prefix),), "prefix", f"there is no {subnet} it could belong to", f"add {subnet}")
        return
    if prefix not in overlay:
        hint = f"add {prefix}: the length of what each agent gets of {subnet}"
        yield Finding(((*path, subnet),), "missing", f"{prefix} is missing", hint)
        return
    try:
        network = ipaddress.ip_network(str(overlay[subnet]))
    except ValueError:
        return
    length = overlay[prefix]
    is_length = isinstance(length, int) and not isinstance(length, bool) and length >= 0
    if is_length and length < network.prefixlen and network.version == (6 if subnet == "subnet6" else 4):
        message = f"an agent's /{length} is larger than the whole subnet {network}"
        hint = f"use {network.prefixlen} to {network.max_prefixlen}"
        yield Finding(((*path, prefix), (*path, subnet)), "prefix", message, hint)


def names_are_unique(facts: Facts) -> Iterator[Finding]:
    """No two overlays have one name."""
    seen: dict[str, int] = {}
    for index, overlay in facts.overlays():
        name = overlay.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            paths = tuple((_NETWORK, "overlays", at, "name") for at in (index, seen[name]))
            yield Finding(paths, "duplicate-name", f"two overlays are named {name!r}", "rename one")
        seen.setdefault(name, index)


def names_are_free(facts: Facts) -> Iterator[Finding]:
    """Containers ask for Calico's network by the name `calico`."""
    for index, overlay in facts.overlays():
        if overlay.get("name") == "calico" and facts.values["calico_enabled"] is True:
            paths: tuple[Path, ...] = ((_NETWORK, "overlays", index, "name"), ("calico_enabled",))
            yield Finding(paths, "reserved-name", "'calico' is the name of Calico's own network", "rename the overlay")


def default_names(facts: Facts) -> Iterator[Finding]:
    """The default names are names of overlays. A default6 nobody set and nobody needs is let be, as upstream does."""
    if not facts.has(_NETWORK):
        return
    by_name = {overlay["name"]: overlay for _, overlay in facts.overlays()}
    has_subnet6 = any("subnet6" in overlay for overlay in by_name.values())
    for name, subnet in (
        ("dcos_overlay_network_default_name", "subnet"),
        ("dcos_overlay_network6_default_name", "subnet6"),
    ):
        wanted = facts.values[name]
        if not facts.has(name) or (subnet == "subnet6" and name not in facts.given and not has_subnet6):
            continue
        yield from _default_name(name, wanted, by_name, subnet, is_given=name in facts.given)


def _default_name(
    key: str, wanted: str, by_name: Mapping[str, Mapping[str, Any]], subnet: str, *, is_given: bool
) -> Iterator[Finding]:
    paths: tuple[Path, ...] = ((key,), (_NETWORK,))
    overlay = by_name.get(wanted)
    if overlay is None:
        strict = is_given or subnet == "subnet"
        message, hint = f"there is no overlay named {wanted!r}", f"use one of {', '.join(sorted(by_name))}"
        yield Finding(paths, "no-such-overlay", message, hint, ERROR if strict else WARNING)
    elif subnet not in overlay:
        yield Finding(paths, "no-such-overlay", f"the overlay {wanted!r} has no {subnet}", "name another", WARNING)
    elif overlay.get("enabled") is False:
        yield Finding(paths, "disabled-overlay", f"the overlay {wanted!r} is disabled", "name another", WARNING)
