"""Units: where systemd finds ours, and the few things asked of systemctl.

`/etc/systemd/system/<unit>` is a link to `<root>/dcos.target.wants/<unit>`, which leads through `current`: switching
the generation switches all unit files at once. A link whose unit the live generation lacks dangles, and systemd passes
over it. Two files are real ones, because /opt may be a file system that is mounted only after systemd read its units:
`dcos.target`, and `dcos-setup.service`, which at boot finishes what was interrupted, reloads systemd and starts the
target.
"""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pkgpanda.errors import PandaError
from pkgpanda.node.host import Host
from pkgpanda.node.layout import WANTS, Layout

TARGET = "dcos.target"
SETUP = "dcos-setup.service"
_MARK = "# Written by pkgpanda (dcos-calico).\n"
_BOOT = "multi-user.target.wants"


class UnitStatus(NamedTuple):
    """What systemd says of a unit. `job` is true while it is still at work on it."""

    active: str = ""
    sub: str = ""
    invocation: str = ""
    job: bool = False

    @property
    def healthy(self) -> bool:
        """Whether the unit's start ended well and nothing is going on: with sd_notify, READY was sent."""
        return self.active == "active" and not self.job

    @property
    def failed(self) -> bool:
        """Whether systemd has given the unit up."""
        return self.active == "failed" and not self.job


def _files(layout: Layout) -> dict[str, str]:
    target = f"{_MARK}[Unit]\nDescription=DC/OS services\n\n[Install]\nWantedBy=multi-user.target\n"
    program = layout.at("bin", "pkgpanda")
    setup = (
        f"{_MARK}[Unit]\nDescription=Finish an interrupted activation and start the DC/OS services\n"
        f"Before={TARGET}\nRequiresMountsFor={layout.root}\nConditionPathExists={program}\n\n"
        f"[Service]\nType=oneshot\nExecStart={program} setup --no-block-systemd\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    return {TARGET: target, SETUP: setup}


def sweep(host: Host, layout: Layout) -> None:
    """Remove what an interrupted `install` left."""
    host.sweep(*(f"{layout.systemd_dir}/{name}" for name in (TARGET, SETUP)))


def install(host: Host, layout: Layout) -> None:
    """Write the two files and what makes systemd start them at boot; nothing where they are as they should be."""
    host.make_directories(f"{layout.systemd_dir}/{_BOOT}")
    for name, text in _files(layout).items():
        path = f"{layout.systemd_dir}/{name}"
        if _text(path) != text:
            host.replace(path, text.encode())
        boot = f"{layout.systemd_dir}/{_BOOT}/{name}"
        if not os.path.islink(boot):
            host.symlink(f"../{name}", boot)
    wants = f"{layout.systemd_dir}/{WANTS}"
    if not os.path.islink(wants):
        host.symlink(layout.at(WANTS), wants)


def uninstall(host: Host, layout: Layout) -> None:
    """Take away everything of ours that systemd sees."""
    reconcile(host, layout, ())
    wants = f"{layout.systemd_dir}/{WANTS}"
    if os.path.islink(wants) and os.readlink(wants) == layout.at(WANTS):
        host.unlink(wants)
    for name in _files(layout):
        boot = f"{layout.systemd_dir}/{_BOOT}/{name}"
        if os.path.islink(boot):
            host.unlink(boot)
        if _text(f"{layout.systemd_dir}/{name}").startswith(_MARK):
            host.unlink(f"{layout.systemd_dir}/{name}")


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def link(host: Host, layout: Layout, unit: str) -> None:
    """Let systemd find a unit."""
    path = f"{layout.systemd_dir}/{unit}"
    if not os.path.islink(path):
        host.symlink(layout.at(WANTS, unit), path)


def linked(layout: Layout) -> list[str]:
    """The units systemd finds through links of ours, sorted: recognised by where the links lead."""
    if not os.path.isdir(layout.systemd_dir):
        return []
    return sorted(
        entry.name
        for entry in os.scandir(layout.systemd_dir)
        if entry.is_symlink() and os.readlink(entry.path) == layout.at(WANTS, entry.name)
    )


def reconcile(host: Host, layout: Layout, units: Iterable[str]) -> None:
    """Make the links of ours exactly those of `units`."""
    wanted = set(units)
    for unit in linked(layout):
        if unit not in wanted:
            host.unlink(f"{layout.systemd_dir}/{unit}")
    for unit in sorted(wanted):
        link(host, layout, unit)


def _systemctl(host: Host, *arguments: str, tolerated: Sequence[int] = ()) -> str:
    done = host.run(["systemctl", *arguments])
    if done.status and done.status not in tolerated:
        last = done.output.strip().splitlines()[-1:] or ["no output"]
        raise PandaError.one(f"systemctl {' '.join(arguments)}", f"failed with status {done.status}: {last[0]}", "", 3)
    return done.output


def reload_manager(host: Host) -> None:
    """Let systemd read its unit files again."""
    _systemctl(host, "daemon-reload")


def stop(host: Host, units: Sequence[str]) -> None:
    """Stop units and wait until they are; a unit systemd does not know is stopped. One that failed is forgotten: else
    it stays among the failed ones when its file is long gone."""
    if units:
        _systemctl(host, "stop", *units, tolerated=(5,))
        _forget_failures(host, units)


def _forget_failures(host: Host, units: Sequence[str]) -> None:
    """Let units start over. systemd complains of those it does not know; there is nothing to forget of them."""
    host.run(["systemctl", "reset-failed", *units])


def start_target(host: Host) -> None:
    """Start whatever of ours does not run. Never waits: a unit may wait for other nodes for long."""
    _systemctl(host, "start", "--no-block", TARGET)


def restart(host: Host, units: Sequence[str]) -> None:
    """Restart units, without waiting; also those that just started so often that systemd would not start them again."""
    if units:
        _forget_failures(host, units)
        _systemctl(host, "restart", "--no-block", *units)


def reload(host: Host, units: Sequence[str]) -> None:
    """Reload those units that run, or restart them where they cannot; without waiting."""
    if units:
        _systemctl(host, "try-reload-or-restart", "--no-block", *units)


def statuses(host: Host, units: Sequence[str]) -> dict[str, UnitStatus]:
    """What systemd says of each unit."""
    if not units:
        return {}
    output = _systemctl(host, "show", "--property=ActiveState,SubState,InvocationID,Job", *units)
    blocks = output.strip().split("\n\n")
    found = {}
    for unit, block in zip(units, blocks, strict=False):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        found[unit] = UnitStatus(
            fields.get("ActiveState", ""),
            fields.get("SubState", ""),
            fields.get("InvocationID", ""),
            fields.get("Job", "0") not in ("", "0"),
        )
    return found


def last_lines(host: Host, unit: str, since: float, count: int = 5) -> list[str]:
    """The last lines a unit wrote since then (seconds since 1970); where it wrote none, what systemd wrote about it."""
    common = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={count}", f"--since=@{since:.0f}"]
    for match in (f"_SYSTEMD_UNIT={unit}", f"--unit={unit}"):
        done = host.run([*common, match])
        if done.status == 0 and done.output.strip():
            return done.output.strip().splitlines()[-count:]
    return []
