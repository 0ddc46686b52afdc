"""Collectors side by side: failures, delays, bounds; the archive and the page."""

import errno
import tarfile
import time
from pathlib import Path

import pytest

from calico.node.diagnostics import collect
from calico.node.diagnostics.analysis import Finding, analyse, presentable, render
from calico.node.diagnostics.collect import Collected, Collection, Collector, gather
from calico.node.diagnostics.facts import Facts, Unit
from calico.node.diagnostics.host import Places, configuration
from calico.node.diagnostics.redact import HIDDEN
from calico.node.diagnostics.report import render_html, write_archive, write_page


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
    files = {f"{name}.txt": f"{name * 9}\n" * 100 for name in "abc"} | {"small.txt": "small"}
    found = gather([Collector("all", lambda: Collected(files))], "n", frozenset(), 5)
    assert found.files["small.txt"] == "small"
    assert found.files["a.txt"].endswith("aaa\n") and "left out" in found.files["a.txt"]
    assert sum(text.count("a") + text.count("b") + text.count("c") for text in found.files.values()) < 400


def test_secrets_are_out_of_files_and_findings() -> None:
    unit = Unit("u.service", "failed", "dead", "", 0, "token=hunter2", 1)
    facts = {"units": (unit,), "differences": ("chain \x1b[2J password=hunter2\n1. WRONG: forged",)}
    brought = Collected({"x": "word s3cret-word", "logs/u.log": "password: hunter2"}, facts)
    found = gather([Collector("c", lambda: brought)], "n", frozenset({"s3cret-word"}), 5)
    findings = presentable(analyse(found.facts), frozenset())
    assert len(findings) == 2
    shown = str(found.files) + str(findings) + render(findings, found.facts, {}) + render_html(findings, "t", found)
    assert "s3cret-word" not in shown and "hunter2" not in shown
    assert "\x1b" not in shown and "\n1. WRONG: forged" not in shown


def test_what_is_cut_off_takes_no_secrets_name_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "FILE_LIMIT", 15)
    found = gather([Collector("c", lambda: Collected({"x": "password=hunter2\nword\n"}))], "n", frozenset(), 5)
    assert "hunter2" not in found.files["x"] and found.files["x"].endswith("\nword\n")


def test_the_last_lines_of_a_log_hold_no_key_that_began_before_them() -> None:
    key = "\n".join(["-----BEGIN EC PRIVATE KEY-----", *["hunter2hunter2hunter2"] * 6, "-----END EC PRIVATE KEY-----"])
    unit = Unit("u.service", "failed", "dead", "", 0, "", 1)
    brought = Collected({"logs/u.log": f"begin\n{key}"}, {"units": (unit,)})
    (finding,) = analyse(gather([Collector("c", lambda: brought)], "n", frozenset(), 5).facts)
    assert "begin" in finding.evidence and "hunter2" not in str(finding)


def test_a_bad_certificate_and_links_in_a_ring_keep_nothing_from_being_read(tmp_path: Path) -> None:
    places = Places(tmp_path / "root", tmp_path / "state", tmp_path / "pki")
    for directory in (places.configuration, places.state, places.secrets):
        directory.mkdir(parents=True)
    for name in ("one", "two"):
        (places.configuration / name).symlink_to(".")
    (places.configuration / "calico.env").write_text("A=b")
    (places.secrets / "ca.crt").write_text("none")
    found = configuration(places)
    assert found.files == {"etc/calico.env": "A=b"}
    (certificate,) = found.facts["certificates"]
    assert certificate.path.endswith("ca.crt") and certificate.error


def test_the_archive_is_for_its_owner_and_never_written_over(tmp_path: Path) -> None:
    collection = Collection({"units.txt": "u"}, Facts(), {})
    path = tmp_path / "d.tar.gz"
    write_archive(path, "analysis\n", collection, 1000.0)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["calico-diags/analysis.txt", "calico-diags/units.txt"]
    with pytest.raises(FileExistsError):
        write_archive(path, "", collection, 1000.0)
    assert path.stat().st_size > 0


def test_the_page_is_for_its_owner_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "d.html"
    write_page(path, "<p>\udcff")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_page(path, "")
    assert path.read_text() == "<p>?"


def test_a_full_disk_leaves_no_half_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tarfile.TarFile.addfile", full)
    with pytest.raises(OSError, match="No space"):
        write_archive(tmp_path / "d.tar.gz", "", Collection({}, Facts(), {}), 0.0)
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_everything_as_text() -> None:
    finding = Finding("rule", "<b>text</b>", ("<i>",), "do & be")
    page = render_html([finding], "title\n", Collection({"a.txt": "<script>"}, Facts(), {"logs": "no"}))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "&lt;b&gt;text" in page and "do &amp; be" in page and "logs: no" in page
    assert "http" not in page.partition("</style>")[2]
