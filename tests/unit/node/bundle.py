"""A dist/ of hand-made packages, for `setup`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from tests.unit.node.simulation import Archive


def write_bundle(dist: Path, archives: Sequence[tuple[Archive, Sequence[str]]]) -> tuple[str, str]:
    """Lay archives out with the roles that want them; the URL and the digest of cluster-package-info.json."""
    info = {}
    for archive, roles in archives:
        name = archive.id.partition("--")[0]
        filename = f"packages/{name}/{archive.path.name}"
        (dist / filename).parent.mkdir(parents=True, exist_ok=True)
        (dist / filename).write_bytes(archive.path.read_bytes())
        info[name] = {
            "id": archive.id,
            "filename": filename,
            "sha256": archive.digest.sha256,
            "tar_sha256": archive.digest.tar_sha256,
            "size": archive.size,
            "roles": list(roles),
        }
    return write_info(dist, info)


def write_info(dist: Path, info: object) -> tuple[str, str]:
    """Write cluster-package-info.json as it is given."""
    data = json.dumps(info).encode()
    dist.mkdir(parents=True, exist_ok=True)
    (dist / "cluster-package-info.json").write_bytes(data)
    return f"file://{dist}", hashlib.sha256(data).hexdigest()
