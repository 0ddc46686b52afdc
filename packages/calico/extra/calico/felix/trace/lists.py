"""One list of policies, and the profiles behind it, against one packet: what each says, until one decides."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from calico.felix.desired import PolicyId, Rule
from calico.felix.state import State
from calico.felix.trace.matching import Describe, Packet, mismatch

Direction = Literal["ingress", "egress"]
Kind = Literal["normal", "untracked", "pre-DNAT", "forward"]
Result = Literal["allow", "deny", "pass", "log", "no match", "continue"]
"""`continue`: nothing is decided here, and the packet goes on to whatever is next."""


class Step(NamedTuple):
    """One thing that was asked. `what` is a policy, a profile or a check; `rule` counts from 1 where a rule was."""

    what: Literal["policy", "profile", "check"]
    name: str
    rule: int
    result: Result
    why: str = ""


class Outcome(NamedTuple):
    """What a list comes to: the steps, the verdict, and a sentence that says what decided."""

    steps: tuple[Step, ...]
    verdict: Literal["allow", "deny", "continue"]
    why: str


class Lists(NamedTuple):
    """A list as it applies: of which kind, the policies of one direction, and the profiles (of `normal` alone)."""

    kind: Kind
    direction: Direction
    policies: tuple[PolicyId, ...]
    profiles: tuple[str, ...] = ()


def go_through(lists: Lists, packet: Packet, state: State, describe: Describe) -> Outcome:
    """Ask policies in order, then profiles where none decides or a rule passes."""
    steps: list[Step] = []
    for policy_id in lists.policies:
        found = list(_ask_policy(policy_id, lists.direction, packet, state, describe))
        steps += found
        last = found[-1]
        if last.result in ("allow", "deny"):
            verdict: Literal["allow", "deny"] = "allow" if last.result == "allow" else "deny"
            return Outcome(tuple(steps), verdict, f"rule {last.rule} of policy {last.name} {_VERB[verdict]} it")
        if last.result == "pass":
            return _passed(lists, steps, packet, state, describe)
    if lists.kind == "normal" and not lists.policies:
        return _ask_profiles(lists, steps, packet, state, describe)
    if lists.kind in ("normal", "forward") and lists.policies:
        return Outcome(tuple(steps), "deny", f"policies apply to its {lists.direction}, and no rule of theirs matches")
    return Outcome(tuple(steps), "continue", "nothing here decides")


_VERB = {"allow": "allows", "deny": "denies"}


def _passed(lists: Lists, steps: list[Step], packet: Packet, state: State, describe: Describe) -> Outcome:
    """Pass leaves out the policies that follow; only `normal` has profiles to go on with."""
    if lists.kind == "normal":
        return _ask_profiles(lists, steps, packet, state, describe)
    return Outcome(tuple(steps), "continue", "a rule passes it, and there are no profiles here")


def _ask_policy(
    policy_id: PolicyId, direction: Direction, packet: Packet, state: State, describe: Describe
) -> Iterator[Step]:
    """A step for each rule until one decides; one step where there are none."""
    policy = state.policies.get(policy_id)
    if policy is None:
        yield Step("policy", policy_id.name, 0, "deny", "it is not there")
        return
    rules = policy.inbound if direction == "ingress" else policy.outbound
    yield from _ask_rules("policy", policy_id.name, rules, packet, state, describe)


def _ask_rules(
    what: Literal["policy", "profile"],
    name: str,
    rules: tuple[Rule, ...],
    packet: Packet,
    state: State,
    describe: Describe,
) -> Iterator[Step]:
    result: Result = "no match"
    for number, rule in enumerate(rules, 1):
        why = mismatch(rule, packet, state.sets, describe)
        result = "no match" if why else rule.action
        yield Step(what, name, number, result, why or _matched(rule))
        if result not in ("no match", "log"):
            return
    if not rules:
        yield Step(what, name, 0, "no match", "it has no rules for this direction")
    elif result == "log":
        yield Step(what, name, 0, "no match", "none of its rules decides")


def _matched(rule: Rule) -> str:
    notes = ", ".join(f"{key}={value}" for key, value in rule.annotations)
    return f"the rule matches ({notes})" if notes else "the rule matches"


def _ask_profiles(lists: Lists, steps: list[Step], packet: Packet, state: State, describe: Describe) -> Outcome:
    for name in lists.profiles:
        profile = state.profiles.get(name)
        if profile is None or profile.missing:
            steps.append(Step("profile", name, 0, "deny", "the profile does not exist or is not valid"))
            return Outcome(tuple(steps), "deny", f"profile {name} does not exist or is not valid, and so denies all")
        rules = profile.inbound if lists.direction == "ingress" else profile.outbound
        found = list(_ask_rules("profile", name, rules, packet, state, describe))
        steps += found
        last = found[-1]
        if last.result in ("allow", "deny"):
            verdict: Literal["allow", "deny"] = "allow" if last.result == "allow" else "deny"
            return Outcome(tuple(steps), verdict, f"rule {last.rule} of profile {name} {_VERB[verdict]} it")
    return Outcome(tuple(steps), "deny", f"no profile allows its {lists.direction}")
