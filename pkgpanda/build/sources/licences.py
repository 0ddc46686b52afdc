"""The licences that a Debian package or a wheel names in its own words, for the SBOM."""

import re
from email.parser import BytesHeaderParser
from pathlib import Path

_DEP5_FORMAT = re.compile(r"^Format(-Specification)?:", re.IGNORECASE)
_DEP5_LICENCE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE | re.IGNORECASE)


def deb_licence(unpacked: Path, package: str) -> str:
    """The short names of a machine-readable copyright file, in order, joined with commas; "" for the older kind."""
    path = unpacked / "usr/share/doc" / package / "copyright"
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    if not _DEP5_FORMAT.match(text):
        return ""
    return ", ".join(sorted({name.strip() for name in _DEP5_LICENCE.findall(text)}))


def wheel_licence(unpacked: Path) -> str:
    """`License-Expression`, else a short `License`, else the licence classifiers, of a wheel's METADATA."""
    for path in sorted(unpacked.glob("*.dist-info/METADATA")):
        metadata = BytesHeaderParser().parsebytes(path.read_bytes())
        short = str(metadata.get("License", "")).strip()
        if found := metadata.get("License-Expression") or (short if 0 < len(short) <= 60 and "\n" not in short else ""):
            return str(found)
        classifiers = [str(line) for line in metadata.get_all("Classifier", []) if str(line).startswith("License ::")]
        return ", ".join(sorted(line.rpartition(":: ")[2] for line in classifiers))
    return ""
