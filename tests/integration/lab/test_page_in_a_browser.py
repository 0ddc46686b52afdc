"""The page of a story as a browser shows it: laid out, nothing cut off, no request and no message."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.page import page
from tests.unit.lab import outcomes

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(240)]

# Appended to a copy of the page: what the browser made of it, as text that --dump-dom prints.
_MEASURE = """<script>
const shown = id => document.getElementById(id).getBoundingClientRect();
const cells = id => [...document.querySelectorAll(`#${id} td.cell:not(.self)`)].map(cell => ({
  answered: cell.classList.contains('yes'), colour: getComputedStyle(cell).backgroundColor}));
const boxes = [...document.querySelectorAll('svg rect.task')].map(box => box.getBoundingClientRect().width);
const found = {width: document.documentElement.scrollWidth, view: innerWidth, verdict: shown('verdict').height,
  before: cells('before'), after: cells('after'), boxes, requests: performance.getEntriesByType('resource').length};
document.title = 'measured';
const note = document.createElement('pre'); note.id = 'found'; note.textContent = JSON.stringify(found);
document.body.appendChild(note);
</script>"""

Browse = Callable[..., str]


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Browse:
    """Runs the browser in a network namespace of its own, with nothing in it."""
    home = tmp_path_factory.mktemp("browser")
    program = shutil.which("chromium")
    assert program, "chromium is not installed; make test installs it"

    def run(*options: str) -> str:
        shared = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}/profile")
        command = ["unshare", "--net", program, *shared, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_browser_shows_all_of_it(tmp_path: Path, browse: Browse) -> None:
    file = tmp_path / "page.html"
    file.write_text(page("The bookstore", outcomes.plan(), outcomes.outcome()) + _MEASURE)
    shown = browse("--window-size=1200,900", "--virtual-time-budget=2000", "--dump-dom", file.as_uri())
    found = json.loads(shown.partition('<pre id="found">')[2].partition("</pre>")[0])
    assert found["width"] <= found["view"]
    assert found["requests"] == 0
    assert found["verdict"] > 10
    assert len(found["boxes"]) == 3
    assert min(found["boxes"]) > 100
    assert [cell["answered"] for cell in found["before"]] == [True] * 6
    assert [cell["answered"] for cell in found["after"]].count(False) == 1
    answered, refused = (
        {cell["colour"] for cell in found["after"] if cell["answered"] is is_} for is_ in (True, False)
    )
    assert answered.isdisjoint(refused)


def test_a_screenshot_is_a_picture_of_its_size(tmp_path: Path, browse: Browse) -> None:
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    file.write_text(page("The bookstore", outcomes.plan(), outcomes.outcome()))
    browse("--window-size=1200,900", f"--screenshot={picture}", file.as_uri())
    head = picture.read_bytes()[:24]
    assert head[1:4] == b"PNG"
    assert (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")) == (1200, 900)
