"""What a lab leaves on this machine, wherever that is."""

from pathlib import Path

from lab.instance import HOME

_HOMES = (
    HOME,
    Path("/run/netns"),
    Path("/sys/fs/cgroup/systemd"),
    Path("/sys/fs/cgroup/unified"),
    Path("/run/systemd"),
)


def traces(name: str) -> list[str]:
    """Everything on this machine that bears a lab's name."""
    found = [str(path) for home in _HOMES for path in home.glob(f"**/{name}*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes()
        except OSError:
            continue
        if name.encode() in words:
            found.append(str(process))
    return found
