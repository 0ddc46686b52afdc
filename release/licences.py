"""Licences as CycloneDX spells them, from the words of Debian's copyright files and of wheels' METADATA."""

import re

_SPDX = {
    "Apache-2": "Apache-2.0",
    "Apache-2.0": "Apache-2.0",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "Beerware": "Beerware",
    "CC-BY-SA-4.0": "CC-BY-SA-4.0",
    "Expat": "MIT",
    "GPL-1+": "GPL-1.0-or-later",
    "GPL-2": "GPL-2.0-only",
    "GPL-2+": "GPL-2.0-or-later",
    "GPL-2.0+": "GPL-2.0-or-later",
    "GPL-3": "GPL-3.0-only",
    "GPL-3+": "GPL-3.0-or-later",
    "ISC": "ISC",
    "LGPL-2": "LGPL-2.0-only",
    "LGPL-2+": "LGPL-2.0-or-later",
    "LGPL-2.1": "LGPL-2.1-only",
    "LGPL-2.1+": "LGPL-2.1-or-later",
    "LGPL-3+": "LGPL-3.0-or-later",
    "MIT": "MIT",
    "X11": "X11",
    "Zlib": "Zlib",
}
"""Debian's short names (the machine-readable copyright format) in SPDX's spelling; others keep Debian's name."""

_EXPRESSIONS = {
    "gcc-12-base": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgcc-s1": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgcrypt20": "LGPL-2.1-or-later",
    "libgssapi-krb5-2": "MIT",
    "libk5crypto3": "MIT",
    "libkrb5-3": "MIT",
    "libkrb5support0": "MIT",
    "libpython3.11-minimal": "PSF-2.0",
    "libpython3.11-stdlib": "PSF-2.0",
    "libstdc++6": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "python3.11-minimal": "PSF-2.0",
}
"""Packages whose copyright file is prose: the licence of what we ship of them, read out of it by a person."""

_SEPARATORS = re.compile(r",\s*|\s+(?:and|or)\s+", re.IGNORECASE)

Licence = dict[str, object]


def cyclonedx_licences(name: str, words: str) -> tuple[Licence, ...]:
    """CycloneDX `licenses` of the component `name`, whose source names its licences in `words` (names and commas).

    Where it names none, the component says where the text is: packages carry the copyright file of all they ship.
    """
    if name in _EXPRESSIONS:
        words = _EXPRESSIONS[name]
        return ({"expression": words},) if " " in words else ({"license": {"id": words}},)
    names = sorted({_SPDX.get(each, each) for each in _SEPARATORS.split(words) if each})
    if not names:
        return ({"license": {"name": f"see usr/share/doc/{name}/copyright"}},)
    known = set(_SPDX.values())
    return tuple({"license": {"id" if each in known else "name": each}} for each in names)
