"""The selectors that are in force: what a policy or rule says, narrowed to its namespace and service accounts.

Endpoints carry the labels of their namespace and service account through their profiles, with `pcns.` and `pcsa.`
before each name. A namespaced policy, and a rule in one that names no other namespaces, are held to their own
namespace. Parts are joined in upstream's order, so that equal selectors have equal ids everywhere.
"""

from collections.abc import Callable
from functools import lru_cache

from calico.model.keys import NAMESPACE_LABEL
from calico.model.rule import ServiceAccounts
from calico.selector.nodes import All, And, Equal, Has, In, Node, Not, Or
from calico.selector.parser import Selector, parse

_ACCOUNT_LABEL = "projectcalico.org/serviceaccount"
_OF_NAMESPACE, _OF_ACCOUNT = "pcns.", "pcsa."

cached_parse: Callable[[str], Selector] = lru_cache(4096)(parse)
"""As `parse`; rules repeat themselves."""
EVERYTHING = parse("all()")


@lru_cache(4096)
def of_policy(selector: str, namespace: str, namespace_selector: str, account_selector: str) -> Selector:
    """Which endpoints a policy applies to; `namespace` is empty for a global one."""
    parts = [parse(selector)] if selector else []
    if namespace_selector:
        parts = [_all_of([*parts, _prefixed(namespace_selector, _OF_NAMESPACE, NAMESPACE_LABEL)])]
    if account_selector:
        parts = [_all_of([*parts, _prefixed(account_selector, _OF_ACCOUNT, _ACCOUNT_LABEL)])]
    if namespace:
        parts = [_all_of([*parts, _is_in(namespace)])]
    return parts[0] if parts else EVERYTHING


@lru_cache(4096)
def of_peer(
    selector: str, not_selector: str, namespace_selector: str, accounts: ServiceAccounts | None, namespace: str
) -> Selector | None:
    """Which endpoints one end of a rule must be, its `notSelector` not counted; None where it asks for none.

    `namespace` is that of a namespaced policy. Then `notSelector` alone limits the peer to it, too.
    """
    parts = _accounts(accounts) if accounts else []
    if selector:
        parts = [_all_of([*parts, parse(selector)])]
    where = [_is_in(namespace)] if namespace else []
    if namespace_selector:
        where = [_prefixed(namespace_selector, _OF_NAMESPACE, NAMESPACE_LABEL)]
    if parts or not_selector or namespace_selector:
        parts = [*where, *parts]
    return _all_of(parts) if parts else None


@lru_cache(4096)
def without(positive: Selector, negative: Selector) -> Selector:
    """What the one selects and the other does not."""
    root = negative.root
    return Selector(And((positive.root, root.operand if isinstance(root, Not) else Not(root))))


def _all_of(parts: list[Selector]) -> Selector:
    return parts[0] if len(parts) == 1 else Selector(And(tuple(part.root for part in parts)))


def _is_in(namespace: str) -> Selector:
    return Selector(Equal(NAMESPACE_LABEL, namespace))


def _accounts(accounts: ServiceAccounts) -> list[Selector]:
    """The endpoints that run as one of some service accounts; empty where nothing is asked of them."""
    parts = [_prefixed(accounts.selector, _OF_ACCOUNT, _ACCOUNT_LABEL)] if accounts.selector else []
    if accounts.names:
        parts = [_all_of([*parts, Selector(In(_ACCOUNT_LABEL, frozenset(accounts.names)))])]
    return parts


def _prefixed(text: str, prefix: str, everywhere: str) -> Selector:
    """A selector over the labels of a namespace (or account) as one over its endpoints; `all()` means any namespace."""
    return Selector(_without_all(parse(text).prefixed(prefix).root, everywhere))


def _without_all(node: Node, label: str) -> Node:
    match node:
        case All():
            return Has(label)
        case Not(operand):
            return Not(_without_all(operand, label))
        case And(operands):
            return And(tuple(_without_all(one, label) for one in operands))
        case Or(operands):
            return Or(tuple(_without_all(one, label) for one in operands))
    return node
