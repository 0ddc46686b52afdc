"""What a change is in messages: in which transaction, and in which order."""

from calico.felix.dataplane.nft.content import Book, Found, FoundChain, FoundSet, difference, plan
from calico.felix.dataplane.nft.family import V4
from calico.felix.dataplane.nft.rendering import Rendering
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.desired import Changes, IpSet, Policy, PolicyId, SetChange, Side
from calico.netlink.nftables.expressions import goto
from calico.netlink.nftables.objects import (
    DELETE_CHAIN,
    DELETE_ELEMENTS,
    DELETE_RULE,
    DELETE_SET,
    INTERFACE,
    IPV4_ADDRESS,
    MARK,
    NEW_CHAIN,
    NEW_ELEMENTS,
    NEW_RULE,
    NEW_SET,
    VERDICT,
    Base,
    Chain,
    Element,
    Operation,
    Rule,
    Set,
    Table,
)
from calico.netlink.nftables.transactions import comment_of
from tests.unit.felix_nft.states import EMPTY, OPEN, State, between, identity, rule, workload

NAMES = {
    NEW_CHAIN: "new chain",
    DELETE_CHAIN: "delete chain",
    NEW_RULE: "rule",
    DELETE_RULE: "flush",
    NEW_SET: "new set",
    DELETE_SET: "delete set",
    NEW_ELEMENTS: "elements",
    DELETE_ELEMENTS: "delete elements",
}
STATE = State(
    sets={"s:a": IpSet("net", frozenset({"10.0.0.1"}))},
    policies={PolicyId("p"): Policy((rule(source=Side(sets=("s:a",))),), ()), PolicyId("q"): Policy((rule(),), ())},
    profiles={"open": OPEN},
    workloads={identity("a"): workload("cali1", "10.65.0.1", ingress=("p",))},
)


def kinds(operations: list[Operation]) -> list[str]:
    """What the messages do; of those that do the same one after another, one."""
    names = [NAMES[operation.kind & 0xFF] for operation in operations]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def planned(changes: Changes) -> list[list[str]]:
    """The three transactions of a change to STATE."""
    rendering = Rendering(V4, NftSettings())
    rendering.update(between(EMPTY, STATE))
    rendering.book.take()
    rendering.update(changes)
    return [kinds(part) for part in plan(Table(2, "x"), rendering.book.take(), rendering.book.sets)]


def test_a_member_is_one_message() -> None:
    change = SetChange(frozenset({"10.0.0.2"}), frozenset())
    assert planned(Changes(sets_changed={"s:a": change})) == [[], ["elements"], []]


def test_an_endpoint_with_a_known_list_is_elements() -> None:
    new = {identity("b"): workload("cali2", "10.65.0.2", ingress=("p",))}
    assert planned(Changes(workloads=new)) == [[], ["elements"], []]


def test_an_endpoint_with_a_new_list_finds_its_chains_there() -> None:
    new = {identity("b"): workload("cali2", "10.65.0.2", ingress=("q",))}
    assert planned(Changes(workloads=new)) == [["new chain", "rule", "elements"], ["elements"], []]


def test_the_last_endpoint_of_a_list_leaves_before_its_chains_go() -> None:
    assert planned(Changes(workloads={identity("a"): None})) == [
        [],
        ["delete elements"],
        ["delete elements", "flush", "delete chain"],
    ]


def test_a_policy_is_written_in_its_place() -> None:
    change = {PolicyId("p"): Policy((rule("deny"),), ())}
    assert planned(Changes(policies=change)) == [[], ["flush", "rule"], []]


def test_what_a_rule_lists_is_there_before_it() -> None:
    change = {PolicyId("p"): Policy((rule(source=Side(nets=("10.0.0.0/8", "192.0.2.0/24"))),), ())}
    assert planned(Changes(policies=change)) == [["new set", "elements"], ["flush", "rule"], []]


def test_a_set_that_becomes_an_interval_set_is_there_before_its_users_know() -> None:
    change = SetChange(frozenset({"10.1.0.0/16"}), frozenset())
    assert planned(Changes(sets_changed={"s:a": change})) == [
        ["new set", "elements"],
        ["flush", "rule"],
        ["delete set"],
    ]


def test_a_group_that_leads_elsewhere_changes_in_the_switch() -> None:
    book = Book()
    book.put_set("v", Set((MARK,), VERDICT), [Element(b"\1\0\0\0", "a")])
    book.take()
    book.remove_elements("v", [Element(b"\1\0\0\0", "a")])
    book.add_elements("v", [Element(b"\1\0\0\0", "b"), Element(b"\2\0\0\0", "b")])
    before, switch, after = plan(Table(2, "x"), book.take(), book.sets)
    assert [kinds(part) for part in (before, switch, after)] == [["elements"], ["delete elements", "elements"], []]


def test_what_came_and_went_leaves_no_trace() -> None:
    book = Book()
    book.put_set("s", Set((IPV4_ADDRESS,)), [Element(b"\1\2\3\4")])
    book.take()
    book.add_elements("s", [Element(b"\1\2\3\5")])
    book.drop_set("s")
    book.put_set("s", Set((IPV4_ADDRESS,)), [Element(b"\1\2\3\4")])
    book.put_chain("c", Chain(()))
    book.drop_chain("c")
    book.put_set("t", Set((IPV4_ADDRESS,)))
    book.drop_set("t")
    assert book.take().is_empty


def book_of(rules: tuple[Rule, ...], base: Base | None = None) -> Book:
    book = Book()
    book.put_chain("c", Chain(rules, base))
    book.put_set("s", Set((INTERFACE,), MARK), [Element(bytes(16), bytes(4))])
    return book


def found_of(comments: tuple[str, ...], base: Base | None = None, flags: int = 8) -> Found:
    return Found({"c": FoundChain(base, comments)}, {"s": FoundSet(flags, 16, 4, {Element(bytes(16), bytes(4))})})


def test_what_is_as_it_should_be_is_no_difference() -> None:
    one = Rule((goto("c"),), "text")
    assert difference(found_of((one.comment,)), book_of((one,)), frozenset()).is_empty


def test_differences() -> None:
    one, other = Rule((goto("c"),)), Rule((goto("d"),))
    book = book_of((one, other))
    assert difference(found_of((other.comment, one.comment)), book, frozenset()).chains
    assert difference(found_of((one.comment,)), book, frozenset()).chains
    assert difference(found_of((one.comment, other.comment, "by hand")), book, frozenset()).chains
    based = book_of((one,), Base("filter", 2, 0))
    assert difference(found_of((one.comment,), Base("filter", 2, 1)), based, frozenset()).rebased == {"c"}
    assert difference(found_of((one.comment, other.comment), flags=4), book, frozenset()).incompatible == {"s"}


def test_rules_that_do_the_same_have_one_digest_and_those_that_do_not_have_two() -> None:
    assert Rule((goto("a"),), "one").digest == Rule((goto("a"),), "two").digest
    assert Rule((goto("a"),)).digest != Rule((goto("b"),)).digest
    assert Rule((goto("a"),), "one") != Rule((goto("a"),), "two")


def test_a_comment_fits_whatever_the_text() -> None:
    rule_of_many_words = Rule((goto("a"),), "word " * 100)
    assert len(rule_of_many_words.comment) <= 120
    (operation,) = Table(2, "x").add_rule("a", rule_of_many_words, "what")
    assert rule_of_many_words.comment.encode() + b"\0" in operation.payload


def test_many_elements_are_several_messages() -> None:
    elements = [Element(number.to_bytes(4, "big"), end=(number + 1).to_bytes(4, "big")) for number in range(0, 2000, 2)]
    operations = list(Table(2, "x").add_elements("s", elements))
    assert len(operations) == 4
    assert all(len(operation.payload) < 1 << 16 for operation in operations)


def test_the_comment_among_other_things_that_a_maker_left() -> None:
    assert comment_of(b"\x05\x02ab\x00\x04abc\0") == "abc"
    assert comment_of(b"") == ""
    assert comment_of(b"\x05\x01a") == ""
