"""Which command of a page belongs to which test."""

import pytest

from manual.pages import Sample
from tests.samples import Taker, commands_of, takers, typed

PAGE = "docs/how-to/lab.md"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("sudo .venv/bin/lab up        # one master", "lab up"),
        ("/opt/mesosphere/bin/pkgpanda list", "pkgpanda list"),
        ("echo 'a#b' c#d", "echo 'a#b' c#d"),
    ],
)
def test_what_is_typed_is_the_command_alone(text: str, command: str) -> None:
    assert typed(Sample(PAGE, 1, text)) == command


def test_a_question_is_for_a_page_and_for_whole_words() -> None:
    question = Taker("", PAGE, "lab up")
    assert question.takes(Sample(PAGE, 1, "sudo .venv/bin/lab up --agents 3"))
    assert not question.takes(Sample(PAGE, 1, "lab upgrade dist/"))
    assert not question.takes(Sample("README.md", 1, "lab up"))


def test_what_stands_on_the_page_is_given_with_the_tests_own_places() -> None:
    (line,) = commands_of(PAGE, "lab upgrade dist/", {"dist/": "/elsewhere"})
    assert line == "lab upgrade /elsewhere"


def test_a_question_without_an_answer_is_an_error() -> None:
    with pytest.raises(AssertionError, match="has no command that begins with 'lab fly'"):
        commands_of(PAGE, "lab fly")


def test_the_questions_of_the_tests_are_found() -> None:
    found = {(taker.where.partition(":")[0], taker.page, taker.start) for taker in takers()}
    assert ("tests/e2e/test_lab_command.py", "docs/tutorial/bookstore.md", "lab up") in found
