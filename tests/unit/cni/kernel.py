"""The kernel as the engine's tests see it: interfaces by name, in a dictionary."""

import pytest

from calico.cni import veth


class Kernel:
    """Stands for `calico.cni.veth`. `crash` is called before and after each change."""

    def __init__(self) -> None:
        self.interfaces: dict[str, veth.Wiring] = {}
        self.made = 0

    def step(self) -> None:
        """A place where a process may die; a test puts its own here."""

    def attach(self, namespace: int, wiring: veth.Wiring) -> str:
        self.step()
        old = self.interfaces.get(wiring.host_interface)
        if old and old.owner.container_id != wiring.owner.container_id:
            raise veth.WiringError(f"{wiring.host_interface}: is there already, for {old.owner.container_id}")
        self.interfaces[wiring.host_interface] = wiring
        self.made += 1
        self.step()
        return f"02:00:00:00:00:{self.made % 256:02x}"

    def detach(self, owner: veth.Owner) -> bool:
        self.step()
        name = veth.host_interface(owner.container_id)
        has = self.interfaces[name].owner if name in self.interfaces else None
        found = has == owner or (has is not None and not owner.interface and has.container_id == owner.container_id)
        if found:
            del self.interfaces[name]
        self.step()
        return found

    def problems(self, namespace: int, wiring: veth.Wiring) -> list[str]:
        return [] if self.interfaces.get(wiring.host_interface) == wiring else ["it is not there"]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the engine use this one."""
        for name in ("attach", "detach", "problems"):
            monkeypatch.setattr(veth, name, getattr(self, name))
        monkeypatch.setattr(veth, "is_own_namespace", lambda _namespace: False)
