"""`migrate`: definitions of applications and services from another network to Calico's, and back."""

import argparse
import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from calico.calicoctl.migration import jsontext, marathon, record, svc
from calico.calicoctl.migration.api import Access, ApiError, Marathon, target
from calico.calicoctl.migration.record import RecordError
from calico.calicoctl.migration.values import Change, Finding, Wish
from calico.calicoctl.session import Failure, Session

_READ_ONLY = ("version", "versionInfo", "uris", "deployments", "lastTaskFailure", "readinessCheckResults")
_NETWORK = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class _Told(NamedTuple):
    """What came of one file or definition."""

    name: str
    is_changed: bool
    difference: str
    findings: tuple[Finding, ...]


def run(session: Session, options: argparse.Namespace) -> int:
    """0: everything is decided and done; 1: something is left for a person, or failed."""
    if not _NETWORK.fullmatch(options.new):
        raise Failure(f"--to: {options.new!r} cannot name a network: letters, digits, '-', '_' and '.'")
    results: list[_Told] = []
    failures: list[str] = []
    for name in options.target:
        is_url = name.startswith(("http://", "https://"))
        if is_url and options.form == "svc":
            raise Failure(f"{name}: svc takes files and directories")
        work = _of_api(session, options, name) if is_url else _of_files(options, Path(name))
        for each in work:
            if isinstance(each, str):
                failures.append(each)
            else:
                results.append(each)
                if options.output == "text":
                    _show(session, each)
    if options.output == "json":
        session.stdout.write(json.dumps(_document(results, failures), indent=2) + "\n")
    for failure in failures:
        session.complain(failure)
    if options.output == "text":
        _conclude(session, options, results)
    is_open = any(finding.is_open for each in results for finding in each.findings)
    return 1 if failures or is_open else 0


def _document(results: list[_Told], failures: list[str]) -> dict[str, Any]:
    return {
        "changed": [each.name for each in results if each.is_changed],
        "unchanged": [each.name for each in results if not each.is_changed],
        "findings": [
            {"name": each.name, "where": finding.where, "text": finding.text, "open": finding.is_open}
            for each in results
            for finding in each.findings
        ],
        "failures": failures,
    }


def _show(session: Session, told: _Told) -> None:
    session.stdout.write(told.difference)
    for finding in told.findings:
        session.complain(f"{told.name}: {finding}")


def _conclude(session: Session, options: argparse.Namespace, results: list[_Told]) -> None:
    changed = sum(each.is_changed for each in results)
    is_open = sum(any(finding.is_open for finding in each.findings) for each in results)
    verb = "would be " if options.dry_run else ""
    what = "taken back" if options.back else "migrated"
    text = f"{changed} {verb}{what}, {len(results) - changed} not concerned or left as they are"
    session.complain(text + (f"; {is_open} to be decided by you" if is_open else ""))


def _wish(options: argparse.Namespace) -> Wish:
    return Wish(frozenset(options.old or ["dcos"]), options.new, options.allow_host_ports)


def _difference(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")
    return "".join(f"{line}\n" for line in lines)


# ------------------------------------------------------------------------------------------------------ files


def _of_files(options: argparse.Namespace, top: Path) -> Iterator[_Told | str]:
    paths = [top] if not top.is_dir() else list(_below(options.form, top))
    for path in paths:
        if path.exists() and not path.is_file():
            yield f"{path}: is neither a file nor a directory"
            continue
        try:
            yield _file_back(options, path) if options.back else _file(options, path)
        except OSError as error:
            yield f"{path}: {error.strerror or error}"
        except (jsontext.NotJson, UnicodeDecodeError) as error:
            yield f"{path}: is no definition: {error}"
        except RecordError as error:
            yield str(error)
    if top.is_dir() and not paths:
        yield f"{top}: holds no {'.json file' if options.form == 'marathon' else ' or '.join(svc.FILES)}"


def _below(form: str, top: Path) -> Iterator[Path]:
    """The files of a directory that are looked at, hidden ones and directories left out."""
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if (name in svc.FILES) if form == "svc" else (name.endswith(".json") and not name.startswith(".")):
                yield Path(directory, name)


def _record_of(options: argparse.Namespace, path: Path) -> tuple[Path, str]:
    """Where the way back of a file is kept, and under which name."""
    place = Path(os.path.realpath(path))
    return (Path(options.record), str(place)) if options.record else (place.parent / record.DIRECTORY, place.name)


def _file(options: argparse.Namespace, path: Path) -> _Told:
    content = path.read_bytes()
    text = content.decode()
    change = _change(options, path, text)
    after = change.after.encode()
    if after != content and not options.dry_run:
        record.keep(*_record_of(options, path), content, after)
        record.write(path, after)
    return _Told(str(path), after != content, _difference(str(path), text, change.after), change.findings)


def _change(options: argparse.Namespace, path: Path, text: str) -> Change:
    if options.form == "marathon":
        return marathon.migrate(text, _wish(options))
    if path.name not in svc.FILES:
        raise Failure(f"{path}: is none of {', '.join(svc.FILES)}")
    return svc.migrate(path.name, text, _wish(options))


def _file_back(options: argparse.Namespace, path: Path) -> _Told:
    directory, name = _record_of(options, path)
    kept, content = record.kept(directory, name), path.read_bytes()
    if kept is None or content == kept.before:
        if kept is not None and not options.dry_run:
            record.forget(directory, name)
        return _Told(str(path), False, "", ())
    if content != kept.after:
        told = "was changed since it was migrated: put it back yourself"
        return _Told(str(path), False, "", (Finding(str(directory / record.digest(kept.before)), told, True),))
    if not options.dry_run:
        record.write(path, kept.before)
        record.forget(directory, name)
    difference = _difference(str(path), content.decode(errors="replace"), kept.before.decode(errors="replace"))
    return _Told(str(path), True, difference, ())


# -------------------------------------------------------------------------------------------------- the API


def _of_api(session: Session, options: argparse.Namespace, url: str) -> Iterator[_Told | str]:
    try:
        wanted = target(url)
        api = Marathon(wanted.base, _access(session, options))
        directory = Path(options.record or record.DIRECTORY)
        if options.back:
            yield from _api_back(options, api, directory, wanted.id)
            return
        items = api.items(wanted)
    except OSError as error:
        yield f"{error.filename}: {error.strerror}"
        return
    except (ApiError, RecordError) as error:
        yield str(error)
        return
    for kind, definition in items:
        try:
            yield _definition(options, api, directory, kind, definition)
        except (ApiError, RecordError, OSError) as error:
            yield str(error)
        except (jsontext.NotJson, UnicodeEncodeError) as error:
            yield f"{api.base}/v2/{kind}/{definition['id']}: is no definition: {error}"


def _access(session: Session, options: argparse.Namespace) -> Access:
    def secret(path: str) -> str:
        return Path(path).read_text(errors="replace").strip() if path else ""

    token = secret(options.token_file) or session.environment.get("DCOS_ACS_TOKEN", "")
    if not (token.isascii() and token.isprintable()):
        raise ApiError(f"{options.token_file or 'DCOS_ACS_TOKEN'}: holds no token, which is one line of ASCII")
    return Access(token, options.user, secret(options.password_file), options.ca_file)


def _text(definition: dict[str, Any]) -> str:
    return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"


def _definition(
    options: argparse.Namespace, api: Marathon, directory: Path, kind: str, definition: dict[str, Any]
) -> _Told:
    identifier = str(definition["id"])
    shown = {key: value for key, value in definition.items() if key not in _READ_ONLY and not key.startswith("tasks")}
    before = _text(shown)
    change = marathon.migrate(before, _wish(options))
    name = f"{api.base}/v2/{kind}/{identifier}"
    told = _Told(name, change.after != before, _difference(name, before, change.after), change.findings)
    if not told.is_changed or options.dry_run:
        return told
    wanted = json.loads(change.after)
    body = wanted if kind == "pods" else {key: wanted[key] for key in wanted if wanted[key] != shown.get(key)}
    record.keep(directory, name, before.encode(), change.after.encode())
    return told._replace(findings=(*told.findings, *_put(options, api, kind, identifier, body)))


def _put(
    options: argparse.Namespace, api: Marathon, kind: str, identifier: str, body: dict[str, Any]
) -> Iterator[Finding]:
    deployment = api.put(kind, identifier, body, options.force)
    if deployment and options.wait and not api.wait(deployment, options.wait):
        told = f"its deployment {deployment} is not over after {options.wait:g} s: look at it before you go on"
        yield Finding(identifier, told, True)


def _api_back(options: argparse.Namespace, api: Marathon, directory: Path, only: str) -> Iterator[_Told | str]:
    """What was migrated through this Marathon from here, each if what matters of it is still as it was written."""
    for name in record.names(directory):
        start, kind = next(
            (
                (f"{api.base}/v2/{kind}/", kind)
                for kind in ("apps", "pods")
                if name.startswith(f"{api.base}/v2/{kind}/")
            ),
            ("", ""),
        )
        identifier = name.removeprefix(start)
        if start and only in ("", identifier):
            try:
                yield _one_back(options, api, directory, name, kind)
            except (ApiError, RecordError) as error:
                yield str(error)


def _one_back(options: argparse.Namespace, api: Marathon, directory: Path, name: str, kind: str) -> _Told:
    identifier = name.removeprefix(f"{api.base}/v2/{kind}/")
    kept = record.kept(directory, name)
    if kept is None:
        raise RecordError(f"{name}: was not migrated from here")
    before, changed, now = json.loads(kept.before), json.loads(kept.after), api.get(kind, identifier)
    members = {key for key in changed if changed[key] != before[key]}
    if all(now.get(key) == before[key] for key in members):  # what was to be written never was
        if not options.dry_run:
            record.forget(directory, name)
        return _Told(name, False, "", ())
    if any(now.get(key) != changed[key] for key in members):
        told = "was changed since it was migrated: change its network back yourself"
        return _Told(name, False, "", (Finding(identifier, told, True),))
    body = {**{key: now[key] for key in now if key not in _READ_ONLY}, **{key: before[key] for key in members}}
    if kind == "apps":
        body = {key: before[key] for key in sorted(members)}
    findings: tuple[Finding, ...] = ()
    if not options.dry_run:
        findings = tuple(_put(options, api, kind, identifier, body))
        record.forget(directory, name)
    return _Told(name, True, _difference(name, _text(changed), _text(before)), findings)
