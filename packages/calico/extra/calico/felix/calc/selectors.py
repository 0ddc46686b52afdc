"""The selectors that are in force: what a policy or rule says, narrowed to its namespace and service accounts.

Endpoints carry the labels of their namespace and service account through their profiles, with `pcns.` and `pcsa.`
before each name. A namespaced policy, and a rule in one that names no other namespaces, are held to their own
namespace. All this is text that is parsed again, as upstream does, so that equal selectors have equal ids everywhere.
"""

from collections.abc import Callable
from functools import lru_cache

from calico.model.keys import NAMESPACE_LABEL
from calico.model.rule import EntityRule, ServiceAccounts
from calico.selector.nodes import All, And, Has, Node, Not, Or
from calico.selector.parser import Selector, parse

_ACCOUNT_LABEL = "projectcalico.org/serviceaccount"
_OF_NAMESPACE, _OF_ACCOUNT = "pcns.", "pcsa."

cached_parse: Callable[[str], Selector] = lru_cache(4096)(parse)
"""As `parse`; rules repeat themselves."""
EVERYTHING = parse("all()")


@lru_cache(4096)
def of_policy(selector: str, namespace: str, namespace_selector: str, account_selector: str) -> Selector:
    """Which endpoints a policy applies to; `namespace` is empty for a global one."""
    text = selector
    if namespace_selector:
        text = _and(text, _prefixed(namespace_selector, _OF_NAMESPACE, NAMESPACE_LABEL))
    if account_selector:
        text = _and(text, _prefixed(account_selector, _OF_ACCOUNT, _ACCOUNT_LABEL))
    if namespace:
        text = _and(text, _is_in(namespace))
    return parse(text)


def of_peer(peer: EntityRule, namespace: str) -> Selector | None:
    """Which endpoints one end of a rule must be, its `notSelector` not counted; None where it asks for none.

    `namespace` is that of a namespaced policy. Then `notSelector` alone limits the peer to it, too.
    """
    accounts = _accounts(peer.service_accounts) if peer.service_accounts else ""
    where = _is_in(namespace) if namespace else ""
    if peer.namespace_selector:
        where = _prefixed(peer.namespace_selector, _OF_NAMESPACE, NAMESPACE_LABEL)
    text = _and(accounts, peer.selector) if accounts else peer.selector
    if where and (text or peer.not_selector or peer.namespace_selector):
        text = f"({where}) && ({text})" if text else where
    return cached_parse(text) if text else None


@lru_cache(4096)
def without(positive: Selector, negative: Selector) -> Selector:
    """What the one selects and the other does not."""
    return parse(f"({positive.canonical}) && (!({negative.canonical}))")


def _and(text: str, more: str) -> str:
    return f"({text}) && {more}" if text else more


def _is_in(namespace: str) -> str:
    return f"{NAMESPACE_LABEL} == '{namespace}'"


def _accounts(accounts: ServiceAccounts) -> str:
    """The selector of the endpoints that run as one of some service accounts."""
    text = _prefixed(accounts.selector, _OF_ACCOUNT, _ACCOUNT_LABEL) if accounts.selector else ""
    if not accounts.names:
        return text
    names = ", ".join(f"'{name}'" for name in accounts.names)
    return _and(text, f"{_ACCOUNT_LABEL} in {{{names}}}")


@lru_cache(4096)
def _prefixed(text: str, prefix: str, everywhere: str) -> str:
    """A selector over the labels of a namespace (or account) as one over its endpoints; `all()` means any namespace."""
    return _without_all(parse(text).prefixed(prefix).root, everywhere).canonical()


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
