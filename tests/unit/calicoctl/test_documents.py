"""Reading resource files: parts, lists, positions, and what is refused."""

import io
from pathlib import Path

import pytest

from calico.calicoctl.documents import DocumentError, parse, read


def test_parts_lists_and_sequences_become_documents_with_their_lines() -> None:
    text = (
        "kind: A\n---\n# nothing\n---\n- kind: B\n- kind: C\n---\nkind: XList\nitems:\n- kind: D\n  spec:\n    x: 1\n"
    )
    documents = parse(text, "f.yaml")
    assert [(d.data["kind"], d.line) for d in documents] == [("A", 1), ("B", 5), ("C", 6), ("D", 10)]
    assert documents[3].lines[("spec", "x")] == 12
    assert documents[1].where == "f.yaml:5"


def test_anchors_and_merges_are_expanded_and_own_members_win() -> None:
    (document,) = parse("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: {<<: [{k: 9}, *x]}\nd: *x\n", "f")
    assert document.data["b"] == {"k": 1, "l": 3}
    assert document.data["c"] == {"k": 9, "l": 2}
    assert document.data["d"] == {"k": 1, "l": 2}


def test_json_is_read_and_timestamps_stay_text() -> None:
    (document,) = parse('{"kind": "A", "metadata": {"creationTimestamp": null}}', "f")
    assert document.data["metadata"] == {"creationTimestamp": None}
    (document,) = parse("t: 2019-12-23T04:16:55Z\nb: true\ni: 010\nn: 1.5", "f")
    assert document.data == {"t": "2019-12-23T04:16:55Z", "b": True, "i": 8, "n": 1.5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "f:2: error parsing document: a: the member is given twice"),
        ("a: 1\n---\nb:\n  c: 1\n  c: 2\n", "f:5: error parsing document: b.c: the member is given twice"),
        ("just text\n", "f:1: error parsing document: a resource is a mapping, not text"),
        ("- 5\n", "f:1: error parsing document: a resource is a mapping, not a number"),
        ("a: [1\n", "f:2: error parsing document:"),
        ("? [a]\n: 1\n", "f:1: error parsing document: a member's name must be text"),
        ("a: {<<: 1}\n", "f:1: error parsing document: << merges mappings only"),
        ("a: &x [*x]\n", "f:1: error parsing document: an alias stands inside what it refers to"),
        ("a: 1\n b: 2\n", "f:2: error parsing document:"),
    ],
)
def test_a_broken_file_names_the_line(text: str, says: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text, "f")
    assert str(caught.value).startswith(says)


def test_alias_bombs_end_in_an_error() -> None:
    levels = "\n".join(f"l{i}: &l{i} [" + ", ".join([f"*l{i - 1}"] * 10 if i else ["x"] * 10) + "]" for i in range(9))
    with pytest.raises(DocumentError, match="more than a million values"):
        parse(levels, "f")


def test_directories_are_read_in_order_and_subdirectories_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("kind: B")
    (tmp_path / "a.json").write_text('{"kind": "A"}')
    (tmp_path / "ignored.txt").write_text("kind: X")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yml").write_text("kind: C")
    assert [d.data["kind"] for d in read([str(tmp_path)], None)] == ["A", "B"]
    assert [d.data["kind"] for d in read([str(tmp_path)], None, recursive=True)] == ["A", "B", "C"]
    assert [d.file for d in read(["-"], io.StringIO("kind: S"))] == ["standard input"]


def test_a_missing_file_and_bytes_that_are_no_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such file or directory"):
        read([str(tmp_path / "none.yaml")], None)
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(DocumentError, match=r"x\.yaml:2: error parsing document: not UTF-8"):
        read([str(tmp_path / "x.yaml")], None)
