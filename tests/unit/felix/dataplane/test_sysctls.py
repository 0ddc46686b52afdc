"""Kernel settings: written where they differ, put back as they were."""

from pathlib import Path

import pytest

from calico.felix.dataplane.sysctls import Setting, Sysctls, workload_settings


class Kernel:
    """A directory that looks like /proc/sys."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def set(self, path: str, value: str) -> None:
        file = self.root / "net" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)

    def get(self, path: str) -> str:
        return (self.root / "net" / path).read_text()


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    made = Kernel(tmp_path / "sys")
    for one in workload_settings("cali1", ipv6=True):
        made.set(one.path, "7\n")
    return made


def sysctls(kernel: Kernel) -> Sysctls:
    return Sysctls(kernel.root.parent / "record", str(kernel.root))


def test_what_a_workload_s_interface_needs(kernel: Kernel) -> None:
    assert sysctls(kernel).apply(workload_settings("cali1", ipv6=True)) == []
    assert kernel.get("ipv4/conf/cali1/proxy_arp") == "1"
    assert kernel.get("ipv4/neigh/cali1/proxy_delay") == "0"
    assert kernel.get("ipv6/conf/cali1/accept_ra") == "0"
    assert len(workload_settings("cali1", ipv6=False)) == 4


def test_what_is_right_is_not_written(kernel: Kernel) -> None:
    sysctls(kernel).apply(workload_settings("cali1", ipv6=True))
    kernel.root.joinpath("net/ipv4/conf/cali1/proxy_arp").chmod(0o400)
    record = (kernel.root.parent / "record").read_text()
    assert sysctls(kernel).differing(workload_settings("cali1", ipv6=True)) == []
    assert sysctls(kernel).apply(workload_settings("cali1", ipv6=True)) == []
    assert (kernel.root.parent / "record").read_text() == record


def test_an_interface_that_is_gone_is_no_problem(kernel: Kernel) -> None:
    assert sysctls(kernel).apply(workload_settings("cali9", ipv6=True)) == []


def test_a_kernel_without_ipv6(kernel: Kernel) -> None:
    optional = [one for one in workload_settings("cali9", ipv6=True) if one.path.startswith("ipv6")]
    assert sysctls(kernel).differing(optional) == []


def test_everything_is_put_back_by_another_process(kernel: Kernel) -> None:
    sysctls(kernel).apply(workload_settings("cali1", ipv6=True))
    restored = sysctls(kernel).restore()
    assert len(restored) == 7
    assert kernel.get("ipv4/conf/cali1/proxy_arp") == "7"
    assert not (kernel.root.parent / "record").exists()


def test_what_somebody_changed_since_is_left_alone(kernel: Kernel) -> None:
    sysctls(kernel).apply([Setting("ipv4/conf/cali1/forwarding", "1")])
    kernel.set("ipv4/conf/cali1/forwarding", "0")
    assert sysctls(kernel).restore() == []
    assert kernel.get("ipv4/conf/cali1/forwarding") == "0"


def test_a_value_that_is_set_again_is_put_back_as_it_was_first(kernel: Kernel) -> None:
    for _ in range(2):
        sysctls(kernel).apply([Setting("ipv4/conf/cali1/forwarding", "1")])
        kernel.set("ipv4/conf/cali1/forwarding", "0")
    sysctls(kernel).apply([Setting("ipv4/conf/cali1/forwarding", "1")])
    sysctls(kernel).restore()
    assert kernel.get("ipv4/conf/cali1/forwarding") == "7"


def test_the_record_forgets_interfaces_that_are_gone(kernel: Kernel) -> None:
    held = sysctls(kernel)
    held.apply(workload_settings("cali1", ipv6=True))
    kernel.set("ipv4/conf/eth0/forwarding", "0")
    held.apply([Setting("ipv4/conf/eth0/forwarding", "1")])
    held.compact(lambda path: "eth0" in path)
    assert (kernel.root.parent / "record").read_text() == "ipv4/conf/eth0/forwarding 0 1\n"
