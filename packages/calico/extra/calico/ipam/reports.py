"""Reports as JSON, and what two of them, some time apart, prove unused.

Between an address being given out and its endpoint being written, an allocation looks leaked. So it is released only
when two looks found it unused by the same holder, and a third, just before, does too.
"""

from typing import Any, NamedTuple

from calico.ipam.allocator import Ipam
from calico.ipam.check import Allocation, Finding, Report, Use, check
from calico.ipam.errors import IpamError
from calico.ipam.release import Claim
from calico.ipam.snapshot import take_snapshot
from calico.model.ipam import AllocationAttribute

FORMAT = "dcos-calico/ipam-check/1"
LEAST_APART = 600.0
"""Seconds between two reports: longer than any container takes from its address to its endpoint."""

_HANDLES = ("handle", "no-handle")


class Cleanup(NamedTuple):
    """What to free, and which handles (by their keys) to put right."""

    claims: tuple[Claim, ...]
    handles: tuple[str, ...]


class Released(NamedTuple):
    """What `release_leaked` freed, what it left since it is used or another's by now, and the handles it put right."""

    addresses: tuple[str, ...]
    kept: tuple[str, ...]
    handles: tuple[str, ...]


def to_document(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "format": FORMAT,
        "cluster": report.cluster,
        "revision": report.revision,
        "taken": report.taken,
        "allocations": [
            {
                "address": one.address,
                "block": one.block,
                "handle": one.holder.handle_id,
                "attributes": dict(one.holder.secondary) if one.holder.secondary is not None else None,
                "use": str(one.use),
                "reason": one.reason,
            }
            for one in report.allocations
        ],
        "findings": [one._asdict() for one in report.findings],
    }


def from_document(document: Any) -> Report:
    """The inverse of `to_document`; IpamError when it is no report."""
    try:
        if document["format"] != FORMAT:
            raise IpamError(f"not a report of this version: its format is {document['format']!r}, not {FORMAT!r}")
        allocations = tuple(_allocation(one) for one in document["allocations"])
        findings = tuple(Finding(**one) for one in document["findings"])
        revision, taken = int(document["revision"]), float(document["taken"])
        return Report(str(document["cluster"]), revision, taken, allocations, findings)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise IpamError("not a report of `calicoctl ipam check --format json`") from None


def _allocation(document: dict[str, Any]) -> Allocation:
    notes = document["attributes"]
    holder = AllocationAttribute(document["handle"], None if notes is None else dict(notes))
    return Allocation(document["address"], document["block"], holder, Use(document["use"]), document["reason"])


def plan_release(first: Report, second: Report, apart: float = LEAST_APART) -> Cleanup:
    """What both reports found leaked, held by the same holder. Raise IpamError for reports that prove nothing.

    Allocations of unknown holders are never in it: two looks cannot tell one such holder from the next.
    """
    if first.cluster != second.cluster:
        raise IpamError(f"the reports are of two clusters: {first.cluster or 'none'} and {second.cluster or 'none'}")
    if second.taken < first.taken:
        first, second = second, first
    if second.revision < first.revision:
        raise IpamError("the later report is of an older state: the datastore was restored; make both reports anew")
    if second.taken - first.taken < apart:
        raise IpamError(f"the reports are {second.taken - first.taken:.0f} s apart; {apart:.0f} s are the least")
    before = {(one.address, _frozen(one.holder)) for one in first.of(Use.LEAKED)}
    claims = [
        Claim(one.address, one.holder) for one in second.of(Use.LEAKED) if (one.address, _frozen(one.holder)) in before
    ]
    wrong = {finding for finding in first.findings if finding.kind in _HANDLES}
    return Cleanup(tuple(claims), tuple(one.where for one in second.findings if one in wrong))


def _frozen(holder: AllocationAttribute) -> tuple[str | None, tuple[tuple[str, str], ...] | None]:
    notes = holder.secondary
    return holder.handle_id, None if notes is None else tuple(sorted(notes.items()))


def release_leaked(ipam: Ipam, first: Report, second: Report, apart: float = LEAST_APART) -> Released:
    """Free what two reports and the present prove unused, and put right the handles both found wrong."""
    plan = plan_release(first, second, apart)
    snapshot = take_snapshot(ipam.context.store)
    if snapshot.cluster != second.cluster or snapshot.revision < second.revision:
        raise IpamError("the reports are of another cluster, or of a state this one was restored to before")
    now = {(one.address, _frozen(one.holder)) for one in check(snapshot).of(Use.LEAKED)}
    claims = [one for one in plan.claims if one.holder and (one.address, _frozen(one.holder)) in now]
    not_freed = set(ipam.release_claims(claims))
    freed = tuple(one.address for one in claims if one.address not in not_freed)
    kept = tuple(one.address for one in plan.claims if one.address not in freed)
    return Released(freed, kept, tuple(key for key in plan.handles if ipam.repair_handle(key)))
