"""The page of a story: complete, self-contained, and safe whatever the text in it is."""

from html.parser import HTMLParser

import pytest

from lab.page import page
from tests.unit.lab import outcomes

_VOID = {"meta"}


class Reader(HTMLParser):
    """The elements of a page by id, the text in them, and whatever could fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.fetching: list[str] = []
        self.verdict = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.fetching += [name for name in given if name in {"src", "href", "onclick", "onload"}]
        self.fetching += [tag] if tag in {"script", "link", "iframe", "img"} else []
        if tag not in _VOID:
            self.open.append((tag, given.get("id") or ""))
        if tag == "table":
            self.tables[given.get("id") or ""] = []
        if tag == "tr":
            self._table().append([])
        if tag in {"td", "th"}:
            self._table()[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][1] == "verdict":
            self.verdict = data
        if any(tag in {"td", "th"} for tag, _ in self.open):
            self._table()[-1][-1] += f"{data} "

    def _table(self) -> list[list[str]]:
        return self.tables[next(name for tag, name in reversed(self.open) if tag == "table")]


def read(is_as_told: bool = True) -> Reader:
    reader = Reader()
    reader.feed(page("A title & more", outcomes.plan(), outcomes.outcome(is_as_told)))
    assert reader.open == []
    return reader


def test_every_element_is_closed_and_nothing_is_fetched_or_run() -> None:
    assert read().fetching == []
    assert "http" not in page("t", outcomes.plan(), outcomes.outcome()).replace(outcomes.plan().url, "")


def test_the_matrices_have_a_cell_for_every_pair_with_its_reason() -> None:
    tables = read().tables
    for name in ("before", "after"):
        assert [len(row) for row in tables[name]] == [4, 4, 4, 4]
        explained = [cell for row in tables[name][1:] for cell in row[1:] if "itself" not in cell]
        assert len(explained) == 6
        assert all("allowed by the profile" in cell or "denied by ingress rule 2" in cell for cell in explained)


def test_only_the_stranger_is_cut_off_and_only_afterwards() -> None:
    tables = read().tables
    assert not any("no answer" in cell for row in tables["before"] for cell in row)
    row = tables["after"][0].index("bookstore-server ")
    assert [line[0].strip() for line in tables["after"] if "no answer" in line[row]] == ["fruitstore-frontend"]


@pytest.mark.parametrize(("is_as_told", "said"), [(True, "It went as"), (False, "It did not go as")])
def test_the_verdict_is_on_top(is_as_told: bool, said: str) -> None:
    assert read(is_as_told).verdict.startswith(said)


def test_the_steps_say_expected_and_seen() -> None:
    assert read(False).tables["steps"][3][1:] == ["ask ", "an answer ", "none ", "otherwise "]


def test_what_the_server_keeps_for_itself_is_left_out_of_a_policy() -> None:
    text = page("t", outcomes.plan(), outcomes.outcome())
    assert "name: allow-bookstore-cliient-to-server" in text
    assert "hidden-uid" not in text


def test_markup_in_the_data_is_text() -> None:
    text = page("t", outcomes.plan(), outcomes.outcome())
    assert "allow &lt;bookstore&gt;" in text
    assert "<bookstore>" not in text
    assert "<the>" not in text
