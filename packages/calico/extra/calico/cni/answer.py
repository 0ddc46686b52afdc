"""From a runtime's input to what is printed: the part that the agent and the plugin's own process share."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from calico.cni.conf import Call, parse_call, version_of
from calico.cni.errors import CniError

log = logging.getLogger(__name__)


class Input(NamedTuple):
    """What a runtime gives a plugin. `namespace` is a descriptor, or -1."""

    plugin: str
    environment: Mapping[str, str]
    stdin: bytes
    namespace: int


class Answer(NamedTuple):
    """What the plugin's process prints, and its exit code."""

    status: int
    output: bytes


def answer(given: Input, run: Callable[[Call], dict[str, Any] | None]) -> Answer:
    """Parse, run, and print: a result, nothing, or an error object. Nothing is raised."""
    version = version_of(given.stdin)
    try:
        call = parse_call(given.plugin, given.environment, given.stdin, given.namespace)
        document = run(call)
    except CniError as error:
        log.warning("refused: %s", error)
        return Answer(1, _printed(error.document(version)))
    except Exception as error:
        log.exception("failed")
        return Answer(1, _printed(CniError(f"{type(error).__name__}: {error}").document(version)))
    return Answer(0, b"" if document is None else _printed(document))


def _printed(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def environment_of(names: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of CNI's that this process was given."""
    given = os.environ if names is None else names
    return {name: value for name, value in given.items() if name.startswith("CNI_")}
