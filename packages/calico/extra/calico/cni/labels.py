"""Labels of a Mesos task, as labels of its endpoint: values shortened as DC/OS' wrapper does, then sanitised."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

_LONGEST = 63
_TAIL = 53
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")
_DOTS = re.compile(r"[.-]*\.[.-]*")


def endpoint_labels(pairs: Iterable[Any]) -> Mapping[str, str]:
    """The labels of Mesos' `[{"key", "value"}]`; what is no such object is left out, a missing value is empty."""
    found = {}
    for pair in pairs:
        if isinstance(pair, Mapping) and isinstance(key := pair.get("key"), str):
            value = pair.get("value", "")
            found[sanitise(key)] = sanitise(shorten(value if isinstance(value, str) else ""))
    return found


def shorten(value: str) -> str:
    """A value of at most 63 bytes: of a longer one 7 hex digits of its sha256, `...`, and its last 53 bytes."""
    raw = value.encode(errors="surrogateescape")
    if len(raw) <= _LONGEST:
        return value
    return f"{sha256(raw).hexdigest()[:7]}...{raw[-_TAIL:].decode(errors='replace')}"


def sanitise(text: str) -> str:
    """Text with only what labels may hold: `/a/b/c` becomes `a.b.c`.

    As upstream, and `_` at the ends goes too: upstream leaves it there, and then refuses the container for it.
    """
    text = _FOREIGN.sub("-", text.replace("/", "."))
    return _DOTS.sub(".", text).strip(".-_")
