"""Takes secrets out of what is collected: known ones wherever they stand, and what is written like one.

A text is what a program or a file says, so every form in which secrets are written has a pattern here, and each keeps
the words that say what was there. Quantifiers are bounded: a text of megabytes without any space must not take long.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

HIDDEN = "<removed>"

_PEM = re.compile(
    r"(?P<head>-{4,5} ?BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?) ?-{4,5})"
    r".*?(?:-{4,5} ?END (?P=kind) ?-{4,5}|\Z)",
    re.DOTALL,
)
_PEM_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PEM_LINE = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}\s*$")

_NAMES = r"""
    (?: password | passwd | passphrase | secret | token | credentials?
      | (?: api | access | private | shared | auth | account | encryption | signing | session ) [_-]? key )
"""
_QUOTED = r""" \\+" [^"]{0,9999} " | \\*"(?:[^"\\]|\\.)*" | '[^']*' """
_ASSIGNED = re.compile(
    rf"""(?ix)
    (?P<before> (?<![a-z]) ["']? [a-z0-9_.-]{{0,40}}
        (?: {_NAMES} (?! [_-]? (?: file | path | key[_-]?ref ) ) [a-z0-9_-]{{0,40}} | (?<![a-z]) (?: pass | pwd | pw ) )
        \\{{0,3}} ["']? \s{{0,9}} )
    (?: (?P<colon> : \s{{0,9}} ) (?: {_QUOTED} | [^\r\n,;}}\]]+ )
      | (?P<equals> = \s{{0,9}} ) (?: {_QUOTED} | [^\s}}\]]+ )
      | (?= ["'] ) (?: {_QUOTED} ) )
    """
)
_WHOLE_LINE = re.compile(r"""(?i)((?:authorization|cookie)\\{0,3}["']?\s{0,9}[:=]\s{0,9}\\{0,3}["']?)[^\r\n"'\\]+""")

_BEFORE_IT = (
    re.compile(r"""(://[^/\s:@"'<>]{0,256}:)[^\s"'<>]{1,256}(?=@)"""),
    re.compile(r"""(://)[^/\s:@"'<>]{1,256}(?=@)"""),
    re.compile(r"""(?i)((?:--user|\s-u|ETCDCTL_USER)[\s=]{1,3}["']?[^\s:"']{1,256}:)[^\s"']+"""),
    re.compile(
        rf"""(?ix)( \s --? [a-z0-9_-]{{0,40}} {_NAMES}
            (?! -? (?: file | path ) ) [a-z0-9_-]{{0,40}} \s+ ) (?! - ) \S+"""
    ),
    re.compile(r"""(?i)(\bbearer\s{1,9})[a-z0-9+/=._~-]{16,}"""),
    re.compile(r"""("(?:auth|d|p|q|dp|dq|qi|k)"\s{0,9}:\s{0,9}")[A-Za-z0-9+/=_-]{10,}"""),
    re.compile(r"""(Private-Lines: ?\d{1,4}\s).*?(?=Private-MAC|\Z)""", re.DOTALL),
    re.compile(r"""(\b)eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"""),
    re.compile(r"""(LS0tLS1CRUdJTi)[A-Za-z0-9+/=]+"""),
)
"""What stands behind the first group of each is a secret: URLs and options with a user, options with a word behind
them, tokens by their form, private members of a JWK and of Docker's config.json, PuTTY's keys, PEM in base64."""


def known(directory: Path) -> frozenset[str]:
    """The secrets in the node's directory of certificates, which may be quoted anywhere, also in base64."""
    passwords, lines = set(), set()
    for path in sorted(directory.glob("*")) if directory.is_dir() else ():
        try:
            if "password" in path.name:
                passwords.add(path.read_text(errors="replace").strip())
            elif path.suffix == ".key":
                lines |= {line for line in path.read_text(errors="replace").split() if _PEM_LINE.fullmatch(line)}
        except OSError:
            continue
    passwords = {each for each in passwords if len(each) >= 4}
    return frozenset(passwords | lines | {form for each in passwords for form in _in_base64(each.encode())})


def _in_base64(secret: bytes) -> Iterator[str]:
    """What is the secret's alone of its base64, wherever in a longer text it stands."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        alone = text[(0, 2, 3)[before] : len(text) - ((before + len(secret)) % 3 > 0)]
        if len(alone) >= 6:
            yield alone


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _PEM.sub(rf"\g<head> {HIDDEN}", text)
    if _PEM_END.search(text):
        text = "\n".join(_headless(text.split("\n")))
    text = _WHOLE_LINE.sub(rf"\1{HIDDEN}", text)
    for pattern in _BEFORE_IT:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return _ASSIGNED.sub(lambda match: f"{match['before']}{match['colon'] or match['equals'] or ''}{HIDDEN}", text)


def _headless(lines: list[str]) -> list[str]:
    """The lines without those of private keys whose first lines are cut off."""
    kept: list[str] = []
    for line in lines:
        if _PEM_END.search(line):
            if kept and not _PEM_LINE.search(kept[-1]):  # the last line of a key may be a short one
                kept.pop()
            while kept and _PEM_LINE.search(kept[-1]):
                kept.pop()
            kept.append(HIDDEN)
        else:
            kept.append(line)
    return kept
