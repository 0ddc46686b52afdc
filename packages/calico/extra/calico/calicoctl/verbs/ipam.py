"""`ipam show | check | release | configure`: how full the pools are, who has each address, and what nobody uses."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from calico.calicoctl.output.table import bordered
from calico.calicoctl.session import Failure, Session
from calico.datastore.errors import DatastoreError
from calico.ipam.allocator import Ipam
from calico.ipam.check import Report, Use, check
from calico.ipam.errors import IpamError, NotFoundError
from calico.ipam.reports import from_document, plan_release, release_leaked, to_document
from calico.ipam.snapshot import Snapshot, take_snapshot
from calico.ipam.usage import PoolUsage, borrowed, utilization
from calico.model.formats import parse_ip

if TYPE_CHECKING:
    from calico.client.resources import Client

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def run(session: Session, options: argparse.Namespace) -> int:
    """Run one of the four."""
    verbs = {"ipam show": _show, "ipam check": _check, "ipam release": _release, "ipam configure": _configure}
    client = session.client(options.config, getattr(options, "dry_run", False))
    try:
        return verbs[options.command](session, options, client)
    except (IpamError, DatastoreError) as error:
        raise Failure(f"Error: {error}") from None


# -- show --------------------------------------------------------------------------------------------------------------


def _show(session: Session, options: argparse.Namespace, client: "Client") -> int:
    if options.ip:
        return _show_address(session, options.ip, Ipam(client.store))
    if options.show_configuration:
        config = Ipam(client.store).config()
        rows = [("PROPERTY", "VALUE"), ("StrictAffinity", _word(config.strict_affinity))]
        session.stdout.write(bordered([*rows, ("AutoAllocateBlocks", _word(config.auto_allocate_blocks))]))
        return 0
    snapshot = take_snapshot(client.store)
    session.stdout.write(_borrowed(snapshot) if options.show_borrowed else _usage(snapshot, options.show_blocks))
    return 0


def _word(value: bool) -> str:
    return "true" if value else "false"


def _show_address(session: Session, text: str, ipam: Ipam) -> int:
    try:
        holder = ipam.holder_of(_address(text))
    except NotFoundError:
        session.say(f"{text} is not assigned")
        return 0
    session.say(f"IP {text} is in use")
    if holder.secondary:
        session.say("Attributes:")
        for name, value in sorted(holder.secondary.items()):
            session.say(f"  {name}: {value}")
    else:
        session.say("No attributes defined")
    return 0


def _address(text: str) -> str:
    parsed = parse_ip(text)
    if parsed is None:
        raise Failure(f"Error executing command: invalid IP address specified: {text}", on_stdout=True)
    return str(parsed)


def _usage(snapshot: Snapshot, with_blocks: bool) -> str:
    rows = [("GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS FREE")]
    for usage in utilization(snapshot):
        if usage.pool is not None:
            rows.append(_row("IP Pool", str(usage.pool.network), usage.pool.network.num_addresses, usage.in_use))
        if with_blocks:
            rows += _block_rows(usage)
    return bordered(rows)


def _block_rows(usage: PoolUsage) -> list[tuple[str, str, str, str, str]]:
    return [_row("Block", one.cidr, one.capacity, one.capacity - one.free) for one in usage.blocks]


def _row(grouping: str, cidr: str, total: int, used: int) -> tuple[str, str, str, str, str]:
    return (grouping, cidr, f"{total:.5g}", _share(used, total), _share(total - used, total))


def _share(count: int, total: int) -> str:
    return f"{count:.5g} ({100 * count / total:.0f}%)"


def _borrowed(snapshot: Snapshot) -> str:
    found, untold = borrowed(snapshot)
    rows = [("IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO")]
    rows += [(one.address, one.node, one.block, one.owner, one.kind, one.allocated_to) for one in found]
    text = bordered(rows)
    if untold:
        text += (
            f"Note: found {untold} IP allocations without an explicit node association. "
            "Unable to determine if they are borrowed.\n"
        )
    return text


# -- check -------------------------------------------------------------------------------------------------------------


def _check(session: Session, options: argparse.Namespace, client: "Client") -> int:
    report = check(take_snapshot(client.store))
    document = json.dumps(to_document(report), indent=2) + "\n"
    if options.output:
        try:
            Path(options.output).write_text(document)
        except OSError as error:
            raise Failure(f"{options.output}: cannot be written: {error.strerror}") from None
    if options.format == "json":
        session.stdout.write(document)
    else:
        for line in _lines(report, options):
            session.say(line)
    return 1 if report.findings or report.of(Use.LEAKED) else 0


def _lines(report: Report, options: argparse.Namespace) -> Iterable[str]:
    shown = list(Use) if options.show_all else [Use.LEAKED, Use.UNKNOWN]
    for one in report.of(*shown):
        handle = f", handle {one.holder.handle_id}" if one.holder.handle_id else ""
        yield f"{one.address}: {one.use}: {one.reason}{handle}"
    for finding in report.findings:
        yield f"{finding.kind}: {finding}"
    counts = ", ".join(f"{len(report.of(use))} {use}" for use in Use)
    yield f"{len(report.allocations)} addresses allocated: {counts}"
    yield f"{len(report.findings)} findings" if report.findings else "everything adds up"
    if report.of(Use.LEAKED):
        yield (
            "Leaked addresses are freed by two reports ten minutes apart: calicoctl ipam check --output FILE, "
            "then calicoctl ipam release --from-report FIRST --from-report SECOND"
        )


# -- release -----------------------------------------------------------------------------------------------------------


def _release(session: Session, options: argparse.Namespace, client: "Client") -> int:
    if bool(options.ip) == bool(options.from_report):
        raise Failure("give either --ip or --from-report twice")
    if options.ip:
        return _release_address(session, options, Ipam(client.store))
    if len(options.from_report) != 2:
        raise Failure("--from-report must be given twice: one look proves nothing")
    first, second = (_read_report(path) for path in options.from_report)
    if options.dry_run:
        plan = plan_release(first, second)
        for claim in plan.claims:
            session.say(f"would release {claim.address}")
        for key in plan.handles:
            session.say(f"would put right {key}")
        return 0
    done = release_leaked(Ipam(client.store), first, second)
    for address in done.addresses:
        session.say(f"released {address}")
    for address in done.kept:
        session.say(f"kept {address}: it is used, or another's, by now")
    for key in done.handles:
        session.say(f"put right {key}")
    session.say(f"{len(done.addresses)} released, {len(done.kept)} kept")
    return 0


def _release_address(session: Session, options: argparse.Namespace, ipam: Ipam) -> int:
    address = _address(options.ip)
    if ipam.release_ips([address]):
        raise Failure(f"IP address {options.ip} is not assigned")
    would = "Would have released" if options.dry_run else "Successfully released"
    session.say(f"{would} IP address {options.ip}")
    return 0


def _read_report(path: str) -> Report:
    try:
        return from_document(json.loads(Path(path).read_bytes()))
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, IpamError) as error:
        text = str(error) if isinstance(error, IpamError) else "not a report of `calicoctl ipam check --format json`"
        raise Failure(f"{path}: {text}") from None


# -- configure ---------------------------------------------------------------------------------------------------------


def _configure(session: Session, options: argparse.Namespace, client: "Client") -> int:
    if options.strictaffinity not in (*_TRUE, *_FALSE):
        raise Failure("Invalid value. Use true or false to set strictaffinity")
    wanted = options.strictaffinity in _TRUE
    ipam = Ipam(client.store)
    ipam.set_config(ipam.config()._replace(strict_affinity=wanted))
    session.say(f"{'Would set' if options.dry_run else 'Successfully set'} StrictAffinity to: {_word(wanted)}")
    return 0
