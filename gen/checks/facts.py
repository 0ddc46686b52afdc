"""What cross checks look at: every parameter's value, and where it came from."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Facts(NamedTuple):
    """The configuration as far as it could be read.

    `values` has every parameter, defaults filled in. `given` names those in the file, `refused` those whose value has a
    problem of its own: a check leaves them alone, so that one mistake is told once.
    """

    values: Mapping[str, Any]
    given: frozenset[str]
    refused: frozenset[str]

    def has(self, *names: str) -> bool:
        """Whether all of `names` hold values that can be relied on."""
        return self.refused.isdisjoint(names)

    def is_set(self, name: str) -> bool:
        """Whether the file gives `name`, and well."""
        return name in self.given and name not in self.refused

    def overlays(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The overlay networks that are mappings, with their index; their members may still be anything."""
        network = self.values["dcos_overlay_network"]
        listed = network.get("overlays") if isinstance(network, dict) else None
        for index, overlay in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(overlay, dict):
                yield index, overlay

    def addresses(self, name: str) -> Iterator[tuple[int, str]]:
        """The text items of a list parameter, with their index, whatever else is in it."""
        listed = self.values[name]
        for index, item in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(item, str):
                yield index, item


NODE_LISTS = ("master_list", "agent_list", "public_agent_list")
"""The parameters that list nodes."""
