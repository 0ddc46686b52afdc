"""The archive and the page: analysis.txt on top, then everything that was collected."""

import html
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from calico.node.diagnostics.analysis import Finding
from calico.node.diagnostics.collect import Collection

_CSS = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
:root { color-scheme: light dark; }
.finding { border-left: .4rem solid #c90; padding: .2rem 1rem; margin: 1rem 0; background: #8881; }
.urgent { border-color: #c33; }
pre { overflow: auto; max-height: 30rem; background: #8881; padding: .6rem; font: .85em ui-monospace, monospace; }
summary { cursor: pointer; }
"""


def write_archive(path: Path, analysis: str, collection: Collection, now: float) -> None:
    """A new .tar.gz that only its owner may read. FileExistsError where the name is taken."""
    with _new(path) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in (("analysis.txt", analysis), *collection.files.items()):
            content = text.encode(errors="replace")
            about = tarfile.TarInfo(f"calico-diags/{name}")
            about.size, about.mtime, about.mode = len(content), int(now), 0o600
            archive.addfile(about, io.BytesIO(content))


def write_page(path: Path, page: str) -> None:
    """A new file that only its owner may read. FileExistsError where the name is taken."""
    with _new(path) as file:
        file.write(page.encode(errors="replace"))


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """A file that was not there, and is not there if it cannot be written to its end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink()
        raise


def render_html(findings: list[Finding], analysis: str, collection: Collection) -> str:
    """One page without anything from elsewhere; each file folds open."""
    parts = [f"<h1>{html.escape(analysis.splitlines()[0])}</h1>"]
    if not findings:
        parts.append("<p>Nothing looks wrong in what could be read.</p>")
    for finding in findings:
        evidence = "".join(f"<li><code>{html.escape(line)}</code></li>" for line in finding.evidence)
        kind = "finding urgent" if finding.is_urgent else "finding"
        parts.append(
            f'<div class="{kind}"><b>{html.escape(finding.text)}</b> ({finding.rule})<ul>{evidence}</ul>'
            f"<p>Next: {html.escape(finding.step)}</p></div>"
        )
    if collection.unread:
        items = "".join(
            f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in sorted(collection.unread.items())
        )
        parts.append(f"<h2>Not read</h2><ul>{items}</ul>")
    parts.append("<h2>Collected</h2>")
    parts += [
        f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(text)}</pre></details>"
        for name, text in collection.files.items()
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>dcos-calico diagnostics</title>\n'
        f"<style>{_CSS}</style>\n{body}\n</html>\n"
    )
