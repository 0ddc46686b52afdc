"""The file that says where releases are kept, as upstream's release tooling writes it.

    storage:
      nightly: {kind: s3, bucket: downloads, prefix: calico, url: https://downloads.example/calico}
      mirror: {kind: http, url: https://mirror.example/calico}
    options: {preferred: nightly}

A value that begins with `$` is taken from the environment, `$$` stands for `$`. Upstream's names of kinds
(`local_path`, `http_read`, `aws_s3`) are understood too.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pkgpanda.errors import PandaError, Problem
from release.storage.base import Storage
from release.storage.http import HttpStorage
from release.storage.local import LocalStorage
from release.storage.s3 import Bucket, S3Storage

_URL = re.compile(r"(https?://(?![/?#])|file:///)[!-~]+")
_KINDS = {"local_path": "local", "http_read": "http", "aws_s3": "s3"}
_TAKES: dict[str, tuple[set[str], set[str]]] = {
    "local": ({"path"}, {"url", "read_only"}),
    "http": ({"url"}, set()),
    "s3": (
        {"bucket"},
        {"prefix", "endpoint_url", "region", "access_key_id", "secret_access_key", "url", "read_only"},
    ),
}


class Storages(NamedTuple):
    """Every storage by name, and the one that is asked first and whose address scripts carry."""

    all: Mapping[str, Storage]
    preferred: Storage

    def writable(self) -> list[Storage]:
        """Those that a release goes to, the preferred one last: it is what people look at."""
        return sorted((each for each in self.all.values() if each.writable), key=lambda each: each is self.preferred)


def load(path: Path, environment: Mapping[str, str]) -> Storages:
    """Read the file; PandaError with everything that is wrong with it."""
    document = _parse(path)
    where = str(path)
    listed, options = document.get("storage"), document.get("options", {})
    if not isinstance(listed, dict) or not listed:
        raise PandaError.one(f"{where}: storage", "names no storage", "write NAME: {kind: local, path: DIR}")
    problems = [Problem(f"{where}: {key}", "is not known here", "remove it") for key in document.keys() - _TOP]
    made: dict[str, Storage] = {}
    for name, given in listed.items():
        found, values = _values(f"{where}: storage.{name}", given, environment)
        problems += found
        if not found:
            made[str(name)] = _make(str(name), values, path.parent)
    preferred = options.get("preferred", next(iter(listed))) if isinstance(options, dict) else None
    if not isinstance(preferred, str | int) or preferred not in listed:
        names = ", ".join(map(str, listed))
        problems.append(Problem(f"{where}: options.preferred", "is the name of no storage", f"one of {names}"))
    if problems:
        raise PandaError(problems)
    return Storages(made, made[str(preferred)])


_TOP = {"storage", "options"}


def _parse(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(errors="replace"))
    except FileNotFoundError as error:
        hint = "write one as config/release.yaml is, or give --storage FILE"
        raise PandaError.one(str(path), "is not there, so it is not known where releases are kept", hint) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date that is none
        raise PandaError.one(str(path), f"is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise PandaError.one(str(path), "is nested too deeply") from error
    if not isinstance(document, dict):
        raise PandaError.one(str(path), "is not a mapping")
    return document


def _values(where: str, given: Any, environment: Mapping[str, str]) -> tuple[list[Problem], dict[str, Any]]:
    """A storage's settings with the environment filled in, `kind` in our spelling."""
    if not isinstance(given, dict):
        return [Problem(where, "is not a mapping")], {}
    problems = [
        Problem(f"{where}.{key}", f"the environment has no {value[1:]}", "set it")
        for key, value in given.items()
        if _is_variable(value) and value[1:] not in environment
    ]
    values = {str(key): _expanded(value, environment) for key, value in given.items()}
    values["kind"] = _KINDS.get(str(values.get("kind")), str(values.get("kind")))
    if values["kind"] not in _TAKES:
        return [*problems, Problem(f"{where}.kind", "is none of local, http and s3")], {}
    needed, possible = _TAKES[values["kind"]]
    keys = values.keys() - {"kind"}
    problems += [Problem(f"{where}.{key}", "is missing") for key in needed - keys]
    problems += [
        Problem(
            f"{where}.{key}", f"is no setting of {values['kind']}", f"it takes {', '.join(sorted(needed | possible))}"
        )
        for key in keys - needed - possible
    ]
    problems += [
        Problem(f"{where}.{key}", "must be true or false" if key == "read_only" else "must be text")
        for key in keys & (needed | possible)
        if not isinstance(values[key], bool if key == "read_only" else str)
    ]
    if values.get("url", "") != "" and not _URL.fullmatch(str(values["url"])):
        hint = "nodes fetch from there: write it as https://downloads.example/calico, a space as %20"
        problems.append(Problem(f"{where}.url", "is no http://, https:// or file:// address", hint))
    return problems, values


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$")


def _expanded(value: Any, environment: Mapping[str, str]) -> Any:
    if _is_variable(value):
        return environment.get(value[1:], "")
    return value[1:] if isinstance(value, str) and value.startswith("$$") else value


def _make(name: str, values: dict[str, Any], base: Path) -> Storage:
    settings = {key: value for key, value in values.items() if key != "kind"}
    writable = not settings.pop("read_only", False)
    url = settings.pop("url", "").rstrip("/")
    if values["kind"] == "local":
        return LocalStorage(name, base / settings["path"], url, writable)
    if values["kind"] == "http":
        return HttpStorage(name, url)
    return S3Storage(name, Bucket(settings.pop("bucket"), **settings), url, writable)
