"""Files that must be there after a power loss."""

import os
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Bring what was created, renamed and removed in a directory onto the disk. Raise OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
