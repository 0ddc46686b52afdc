"""Linters as ordinary tests: shell scripts, links between documents, what must not stand in the repository."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SHELL_SHEBANG = re.compile(rb"^#!\s*(/usr)?/bin/(env\s+)?(ba|da)?sh\b")
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def _tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in listing.decode().split("\0") if name and (path := ROOT / name).is_file()]


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        return bool(_SHELL_SHEBANG.match(file.readline(80)))


_SHELL = sorted(path for path in _tracked() if _is_shell(path) and "broken" not in path.parts)
_DOCUMENTS = sorted(path for path in _tracked() if path.suffix == ".md")


@pytest.mark.parametrize("script", _SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_script_passes_shellcheck(script: Path) -> None:
    done = subprocess.run(
        [str(ROOT / ".venv/bin/shellcheck"), "--external-sources", "--source-path=SCRIPTDIR", str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    targets = [target for target in _LINK.findall(document.read_text()) if "://" not in target]
    dead = [target for target in targets if not (document.parent / target).exists()]
    assert dead == []


def test_every_document_is_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        todo += [(page.parent / target).resolve() for target in _LINK.findall(page.read_text()) if "://" not in target]
    unreached = [str(page.relative_to(ROOT)) for page in _DOCUMENTS if page not in seen]
    assert unreached == []
