"""Collectors side by side: failures, delays, bounds; the archive and the page."""

import tarfile
import time
from pathlib import Path

import pytest

from calico.node.diagnostics import collect
from calico.node.diagnostics.analysis import Finding
from calico.node.diagnostics.collect import Collected, Collection, Collector, gather
from calico.node.diagnostics.facts import Facts, Unit
from calico.node.diagnostics.redact import HIDDEN
from calico.node.diagnostics.report import render_html, write_archive


def fail() -> Collected:
    raise RuntimeError("etcd is\n away, password=hunter2")


def sleep() -> Collected:
    time.sleep(5)
    return Collected({"late.txt": ""})


def test_one_that_fails_or_is_late_keeps_nobody_else() -> None:
    good = Collector("good", lambda: Collected({"a.txt": "text"}, {"datastore_error": "x"}))
    begin = time.monotonic()
    found = gather([Collector("bad", fail), Collector("slow", sleep), good], "n", frozenset(), 0.3)
    assert time.monotonic() - begin < 4
    assert found.files == {"a.txt": "text"}
    assert found.unread == {"bad": f"etcd is away, password={HIDDEN}", "slow": "not done after 0.3 s"}
    assert (found.facts.node, found.facts.datastore_error) == ("n", "x")


def test_files_are_bounded_each_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "FILE_LIMIT", 100)
    monkeypatch.setattr(collect, "TOTAL_LIMIT", 250)
    files = {f"{name}.txt": name * 1000 for name in "abc"} | {"small.txt": "small"}
    found = gather([Collector("all", lambda: Collected(files))], "n", frozenset(), 5)
    assert found.files["small.txt"] == "small"
    assert found.files["a.txt"].endswith("a" * 100) and "left out" in found.files["a.txt"]
    assert sum(text.count("a") + text.count("b") + text.count("c") for text in found.files.values()) < 400


def test_secrets_are_out_of_files_and_facts() -> None:
    unit = Unit("u", "active", "running", "", 0, "token=hunter2", 1)
    brought = Collected({"x": "word s3cret-word"}, {"units": (unit,), "log_tails": {"u": "password: hunter2"}})
    found = gather([Collector("c", lambda: brought)], "n", frozenset({"s3cret-word"}), 5)
    assert "s3cret-word" not in str(found) and "hunter2" not in str(found)


def test_the_archive_is_for_its_owner_and_never_written_over(tmp_path: Path) -> None:
    collection = Collection({"units.txt": "u"}, Facts(), {})
    path = tmp_path / "d.tar.gz"
    write_archive(path, "analysis\n", collection, 1000.0)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["calico-diags/analysis.txt", "calico-diags/units.txt"]
    with pytest.raises(FileExistsError):
        write_archive(path, "", collection, 1000.0)


def test_the_page_shows_everything_as_text() -> None:
    finding = Finding("rule", "<b>text</b>", ("<i>",), "do & be")
    page = render_html([finding], "title\n", Collection({"a.txt": "<script>"}, Facts(), {"logs": "no"}))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "&lt;b&gt;text" in page and "do &amp; be" in page and "logs: no" in page
    assert "http" not in page.partition("</style>")[2]
