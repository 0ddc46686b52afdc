"""Kernel settings of interfaces: what each should be, written only where it differs, put back by `--cleanup`.

What a setting was before felix changed it is noted in a file before the change, one `path was is` a line, so that
removing felix leaves the kernel as it was. The file is under /run: a boot forgets both.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_ROOT = "/proc/sys"

_WORKLOAD4 = {
    "ipv4/conf/{}/route_localnet": "1",
    "ipv4/conf/{}/proxy_arp": "1",
    "ipv4/conf/{}/forwarding": "1",
    "ipv4/neigh/{}/proxy_delay": "0",
}
_WORKLOAD6 = {
    "ipv6/conf/{}/accept_ra": "0",
    "ipv6/conf/{}/proxy_ndp": "1",
    "ipv6/conf/{}/forwarding": "1",
}
_FORWARDING = {"ipv4/conf/{}/forwarding": "1"}


class Setting(NamedTuple):
    """A kernel setting below /proc/sys/net and its value. `optional`: not every kernel or interface has it."""

    path: str
    value: str
    optional: bool = False


def workload_settings(interface: str, ipv6: bool) -> list[Setting]:
    """What a workload's interface needs: felix answers for its gateway, and the kernel forwards from it."""
    found = [Setting(path.format(interface), value) for path, value in _WORKLOAD4.items()]
    if ipv6:
        found += [Setting(path.format(interface), value, True) for path, value in _WORKLOAD6.items()]
    return found


def forwarding_settings(interface: str) -> list[Setting]:
    """What an interface needs whose packets go on to workloads: a tunnel, and the node's own."""
    return [Setting(path.format(interface), value) for path, value in _FORWARDING.items()]


class Sysctls:
    """Reads and writes settings, and remembers what they were. `record` is the file of what was changed."""

    def __init__(self, record: Path, root: str = _ROOT) -> None:
        self._record, self._root = record, root
        self._noted = {path for path, _, _ in self._lines()}

    def read(self, path: str) -> str | None:
        """A setting's value; None where there is none, as of an interface that is gone."""
        try:
            with open(self._file(path)) as file:
                return file.read().strip()
        except OSError:
            return None

    def differing(self, settings: Iterable[Setting]) -> list[Setting]:
        """Those that are not as they should be, without the optional ones that do not exist."""
        found = ((one, self.read(one.path)) for one in settings)
        return [one for one, actual in found if actual != one.value and not (one.optional and actual is None)]

    def apply(self, settings: Iterable[Setting]) -> list[str]:
        """Write what differs; complaints about what could not be written. An interface that is gone is none."""
        found = [(one, self.read(one.path)) for one in settings]
        changes = [(one, before) for one, before in found if before is not None and before != one.value]
        try:
            self._note(changes)
        except OSError as error:
            return [f"{self._record}: cannot be written, so that no setting is changed: {error.strerror}"]
        return [problem for one, _ in changes if (problem := self._set(one))]

    def _set(self, setting: Setting) -> str:
        """Write one; what is wrong, empty where nothing is."""
        try:
            self._write(setting.path, setting.value)
        except OSError as error:
            if self.read(setting.path) is not None:
                return f"/proc/sys/net/{setting.path}: cannot be set to {setting.value}: {error.strerror}"
        return ""

    def recorded(self) -> list[Setting]:
        """What `restore` would put back, in its order."""
        lines = reversed(list(self._lines()))
        return [Setting(path, before) for path, before, ours in lines if self.read(path) == ours]

    def restore(self) -> list[Setting]:
        """Put back what is still as it was set, latest first; what was put back. The record is gone then."""
        restored = []
        for path, before, ours in reversed(list(self._lines())):
            if self.read(path) == ours:
                with contextlib.suppress(OSError):
                    self._write(path, before)
                    restored.append(Setting(path, before))
        self._record.unlink(missing_ok=True)
        self._noted.clear()
        return restored

    def compact(self, exists: Callable[[str], bool] | None = None) -> None:
        """Forget settings that do not exist any more, as those of interfaces that are gone."""
        lines = list(self._lines())
        kept = [line for line in lines if (exists or self._exists)(line[0])]
        if len(kept) == len(lines):
            return
        draft = self._record.with_suffix(".new")
        draft.write_text("".join(f"{path} {before} {ours}\n" for path, before, ours in kept))
        os.replace(draft, self._record)
        self._noted = {path for path, _, _ in kept}

    def _exists(self, path: str) -> bool:
        return os.path.exists(self._file(path))

    def _note(self, changes: Iterable[tuple[Setting, str]]) -> None:
        """Write down what is about to change, where it is not written down yet."""
        fresh = [(one, before) for one, before in changes if one.path not in self._noted]
        if not fresh:
            return
        with open(self._record, "a") as file:
            file.write("".join(f"{one.path} {before} {one.value}\n" for one, before in fresh))
        self._noted.update(one.path for one, _ in fresh)

    def _lines(self) -> Iterable[tuple[str, str, str]]:
        try:
            text = self._record.read_text()
        except OSError:
            return
        for line in text.splitlines():
            words = line.split(" ")
            if len(words) == 3:
                yield words[0], words[1], words[2]

    def _write(self, path: str, value: str) -> None:
        with open(self._file(path), "w") as file:
            file.write(value)

    def _file(self, path: str) -> str:
        return f"{self._root}/net/{path}"
