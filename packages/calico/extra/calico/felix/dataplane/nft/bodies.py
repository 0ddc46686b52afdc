"""The chains that apply an endpoint's list of policies: of groups of workloads, and of host endpoints.

By kind: `normal` ends in profiles and a drop; `forward` in a drop where there are policies; `untracked` and `pre_dnat`
fall through silently.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from calico.felix.dataplane.nft.causes import Cause, Drop, Side
from calico.felix.dataplane.nft.names import Direction, Place, digest, policy_chain, profile_chain
from calico.felix.dataplane.nft.settings import NftSettings, ProtoPort
from calico.felix.dataplane.nft.words import (
    Parts,
    accept,
    back,
    has_mark,
    joined,
    lacks_marks,
    port,
    protocol,
    set_mark,
)
from calico.felix.desired import PolicyId
from calico.netlink.nftables.expressions import CT_ESTABLISHED, CT_INVALID, CT_RELATED, ct_state, goto, jump, notrack
from calico.netlink.nftables.objects import Chain, Rule

Kind = Literal["normal", "untracked", "pre_dnat", "forward"]

_FAILSAFE = {"in": "failsafe-in", "out": "failsafe-out"}
_PREFIX: dict[tuple[Kind, Direction], str] = {
    ("normal", "in"): "fh-",
    ("normal", "out"): "th-",
    ("forward", "in"): "fhfw-",
    ("forward", "out"): "thfw-",
    ("untracked", "in"): "rfh-",
    ("untracked", "out"): "rth-",
    ("pre_dnat", "in"): "mfh-",
}


class Body(NamedTuple):
    """What an endpoint's chain of one direction (of its rules) applies, in order."""

    kind: Kind
    direction: Direction
    place: Place
    policies: tuple[PolicyId, ...]
    profiles: tuple[str, ...] = ()

    @property
    def chain(self) -> str:
        """Its name, a hash of its content: bodies that are equal share a chain, and a restart finds it."""
        what = digest(*(one.name for one in self.policies), "|", *self.profiles)
        if self.place == "workload":
            return ("tw-" if self.direction == "in" else "fw-") + what
        return _PREFIX[self.kind, self.direction] + what

    @property
    def side(self) -> Side:
        """By which interface its drops are counted."""
        return "out" if (self.direction == "in") == (self.place == "workload") else "in"


def body_chain(body: Body, settings: NftSettings) -> Chain:
    """The rules of a body, in upstream's order (established, invalid, failsafe, policies, profiles)."""
    return Chain(
        tuple(
            _shared(parts)
            for parts in (
                *_tracking(body, settings),
                *_failsafes(body),
                *_policies(body, settings),
                *_profiles(body, settings),
            )
        )
    )


@lru_cache(maxsize=1 << 16)
def _shared(parts: Parts) -> Rule:
    """The rule of these parts. Lists are made of few different rules: one object does for all of them."""
    return Rule(parts)


def _tracking(body: Body, settings: NftSettings) -> list[Parts]:
    if body.kind == "untracked":
        return []
    rules = [joined(ct_state(CT_ESTABLISHED | CT_RELATED), accept)]
    if settings.check_invalid:
        rules.append(joined(ct_state(CT_INVALID), (goto(Drop(Cause.INVALID, body.side, body.place).chain),)))
    return rules


def _failsafes(body: Body) -> list[Parts]:
    if body.place == "workload" or body.kind == "forward":
        return []
    raw = "raw-" if body.kind == "untracked" else ""
    return [(jump(raw + _FAILSAFE[body.direction]),)]


def _policies(body: Body, settings: NftSettings) -> list[Parts]:
    """Clear our marks; each policy while none before has decided; then leave with what was accepted."""
    decided = settings.accepted | settings.passed
    if not body.policies:
        mark = settings.accepted if body.kind == "forward" else 0
        return [set_mark(mark, decided)]
    names = [policy_chain(one.name, body.direction, body.place) for one in body.policies]
    rules = [
        set_mark(0, decided),
        (jump(names[0]),),
        *(joined(lacks_marks(decided), (jump(name),)) for name in names[1:]),
    ]
    if body.kind == "untracked":
        rules.append(joined(has_mark(settings.accepted), (notrack(),), back))
    elif body.kind != "pre_dnat":
        dropped = Drop(Cause.POLICY, body.side, body.place).chain
        rules.append(joined(has_mark(settings.accepted), back))
        rules.append(joined(lacks_marks(settings.passed), (goto(dropped),)))
    return rules


def _profiles(body: Body, settings: NftSettings) -> list[Parts]:
    if body.kind != "normal":
        return []
    rules: list[Parts] = []
    for name in body.profiles:
        rules.append((jump(profile_chain(name, body.direction, body.place)),))
        rules.append(joined(has_mark(settings.accepted), back))
    rules.append((goto(Drop(Cause.PROFILE, body.side, body.place).chain),))
    return rules


def failsafe_chains(settings: NftSettings) -> dict[str, Chain]:
    """What always goes through a host endpoint; before connection tracking the answers too."""
    inbound, outbound = settings.failsafe_inbound, settings.failsafe_outbound
    return {
        "failsafe-in": _ports_chain(inbound),
        "failsafe-out": _ports_chain(outbound),
        "raw-failsafe-in": _ports_chain(inbound, outbound),
        "raw-failsafe-out": _ports_chain(outbound, inbound),
    }


def _ports_chain(destinations: Sequence[ProtoPort], sources: Sequence[ProtoPort] = ()) -> Chain:
    rules = [joined(protocol(one.protocol), port(one.port), accept) for one in destinations]
    rules += [joined(protocol(one.protocol), port(one.port, source=True), accept) for one in sources]
    return Chain(tuple(Rule(parts) for parts in rules))
