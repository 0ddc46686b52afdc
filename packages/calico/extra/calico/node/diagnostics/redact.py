"""Takes secrets out of what is collected: known ones wherever they stand, and what is written like one."""

import re
from collections.abc import Iterable
from pathlib import Path

HIDDEN = "<removed>"

_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_ASSIGNED = re.compile(
    r"""(?ix)
    (?P<before> (?<![a-z]) ["']? [a-z0-9_.-]{0,40}
        (?: password | passwd | passphrase | secret | token | credentials?
          | api[_-]?key | access[_-]?key | private[_-]?key )
        (?! [_-]? (?: file | path | key[_-]?ref ) ) [a-z0-9_-]{0,40} ["']? \s{0,9} (?: [:=] \s{0,9} | \s (?= ["'] ) ) )
    (?P<value> "(?:[^"\\]|\\.)*" | '[^']*' | [^\s,;}\]]+ )
    """
)
_AUTHORIZATION = re.compile(r"(?i)(authorization\s*[:=]\s*)[^\r\n\"']+")
_USERINFO = re.compile(r"(://[^/\s:@]+:)[^@/\s]+(@)")


def known(directory: Path) -> frozenset[str]:
    """The secrets in the node's directory of certificates, which may be quoted anywhere."""
    found = set()
    for path in sorted(directory.glob("*password*")) if directory.is_dir() else ():
        try:
            found.add(path.read_text(errors="replace").strip())
        except OSError:
            continue
    return frozenset(secret for secret in found if len(secret) >= 4)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _PEM.sub(lambda match: f"-----BEGIN {match[1]}----- {HIDDEN}", text)
    text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    text = _USERINFO.sub(rf"\1{HIDDEN}\2", text)
    return _ASSIGNED.sub(lambda match: f"{match['before']}{HIDDEN}", text)
