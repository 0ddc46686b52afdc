"""A plugin's work in its own process: while the agent is away, and for what the agent leaves to it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calico.cni.answer import Input, answer, environment_of
from calico.cni.client import open_namespace
from calico.cni.conf import Call, parse_addresses
from calico.cni.errors import BAD_CONFIG, CniError
from calico.cni.nodename import NODENAME_FILE
from calico.cni.plugin import Delegate, Plugin
from calico.datastore.errors import DatastoreError
from calico.datastore.settings import MEMBERS, Settings, SettingsError, from_members, open_store

_DELEGATE_TIMEOUT = 90.0


def run(plugin: str, stdin: bytes) -> int:
    """Do the work and print the answer; the exit code."""
    namespace = open_namespace(os.environ.get("CNI_NETNS", "").encode())
    given = Input(plugin, environment_of(), stdin, namespace)
    done = answer(given, lambda call: _run(call, given))
    sys.stdout.buffer.write(done.output)
    sys.stdout.buffer.flush()
    return done.status


def _run(call: Call, given: Input) -> dict[str, Any] | None:
    if call.command == "VERSION":
        from calico.cni.results import supported

        return supported(call.conf.cni_version)
    try:
        store = open_store(settings_of(call, os.environ))
    except (SettingsError, DatastoreError) as error:
        raise CniError(str(error), BAD_CONFIG) from None
    nodename = os.environ.get("CALICO_NODENAME_FILE", "")
    try:
        return Plugin(store, None, Path(nodename) if nodename else NODENAME_FILE, _delegate(given)).run(call)
    finally:
        store.close()


def settings_of(call: Call, environment: Mapping[str, str]) -> Settings:
    """Where the datastore is: what the configuration says, and what the environment adds. Raise SettingsError."""
    members: dict[str, Any] = {}
    for member, (_, variable) in MEMBERS.items():
        if variable and (value := environment.get(f"CALICO_{variable}") or environment.get(variable)):
            members[member] = value
    return from_members({**members, **call.conf.datastore})


def _delegate(given: Input) -> Delegate:
    """Another IPAM plugin, found in CNI_PATH and given the same input."""

    def add(call: Call) -> tuple[str, ...]:
        return parse_addresses(_call(call, given, "ADD"))

    return Delegate(add, lambda call: _delete(call, given))


def _delete(call: Call, given: Input) -> None:
    _call(call, given, "DEL")


def _call(call: Call, given: Input, command: str) -> Any:
    kind = call.conf.ipam.type
    if not kind or "/" in kind:
        raise CniError(f"ipam.type {kind!r}: must name a plugin", BAD_CONFIG)
    directories = given.environment.get("CNI_PATH", "").split(":")
    program = next(
        (path for path in (Path(one) / kind for one in directories if one) if os.access(path, os.X_OK)), None
    )
    if program is None:
        raise CniError(f"ipam.type {kind!r}: no such plugin in {':'.join(directories)}", BAD_CONFIG)
    environment = {**os.environ, "CNI_COMMAND": command}
    done = subprocess.run(
        [str(program)],
        input=given.stdin,
        stdout=subprocess.PIPE,
        env=environment,
        check=False,
        timeout=_DELEGATE_TIMEOUT,
    )
    try:
        document = json.loads(done.stdout or b"{}")
    except ValueError:
        document = {}
    if done.returncode:
        said = document.get("msg") if isinstance(document, dict) else None
        raise CniError(f"{program} {command}: {said or f'exit {done.returncode}'}")
    return document
