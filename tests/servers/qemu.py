"""A machine of its own for a test that needs what this kernel lacks (IPIP): Debian's kernel under QEMU, without KVM.

The guest has this machine's root, read-only over 9p below a layer in its memory, so every program and cache is where it
is here; what it writes is gone with it. It has no network but what a job makes in namespaces. `Guest.run` boots one,
runs a shell script as root and gives back its output and exit status.
"""

import gzip
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.servers import debian

_QEMU = (
    *(
        "qemu-system-x86",
        "qemu-system-common",
        "qemu-system-data",
        "seabios",
        "libpixman-1-0",
        "libcapstone4",
        "libpng16-16",
        "zlib1g",
    ),
    *("libjpeg62-turbo", "libgnutls30", "libsasl2-2", "libfdt1", "libudev1", "libpmem1", "libseccomp2", "libnuma1"),
    *("libglib2.0-0", "librdmacm1", "libibverbs1", "libzstd1", "libslirp0", "libvdeplug2", "libbpf1", "liburing2"),
    *("libnettle8", "libgmp10", "libhogweed6", "libfuse3-3", "libaio1", "libp11-kit0", "libidn2-0", "libunistring2"),
    *("libtasn1-6", "libmount1", "libselinux1", "libffi8", "libpcre2-8-0", "libelf1", "libblkid1", "libnl-3-200"),
    *("libnl-route-3-200", "libdaxctl1", "libndctl6", "libkmod2", "libuuid1"),
)
# In the order in which each finds what it needs.
_FIRST_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p", "overlay"),
)
_STATUS = "@@ exit status "

_INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
options=ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose
/bin/busybox mount -t 9p -o $options root /lower || /bin/busybox poweroff -f
/bin/busybox mount -t tmpfs -o size=75% tmpfs /upper
/bin/busybox mkdir /upper/up /upper/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work overlay /root
for kind in proc sysfs:sys devtmpfs:dev tmpfs:run; do
    /bin/busybox mount -t ${{kind%:*}} none /root/${{kind#*:}}
done
/bin/busybox mkdir /root/dev/pts /root/run/netns
/bin/busybox mount -t devpts none /root/dev/pts
/bin/busybox cp /bin/busybox /job /root/run/
/bin/busybox rm -rf /root/usr/lib/modules
/bin/busybox mkdir -p /root/usr/lib/modules
/bin/busybox ln -s {modules_directory} /root/usr/lib/modules/{release}
/bin/busybox ln -s busybox /root/run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
exec /bin/busybox switch_root /root /bin/sh /run/job
"""

_JOB = """
/run/busybox ip link set lo up
/run/busybox hostname guest
{exports}
cd {directory}
(
{script}
) 2>&1
echo "{status}$?"
/run/busybox poweroff -f
"""


class Result(NamedTuple):
    """How a script ended in the guest: its exit status (-1: it did not end), and all that it and the kernel said."""

    status: int
    output: str


class Guest:
    """Debian's kernel for this machine's architecture, unpacked into the cache when it is made first."""

    def __init__(self, memory: int = 1536, processors: int = 2) -> None:
        self._kernel = debian.stands_for("linux-image-amd64")
        self._files = debian.unpacked(self._kernel)
        self._release = self._kernel.removeprefix("linux-image-")
        self._modules = self._files / "lib/modules" / self._release
        self._busybox = debian.unpacked("busybox-static") / "bin/busybox"
        self._memory, self._processors = memory, processors
        if not (self._modules / "modules.dep").exists():  # a package's installation makes it
            subprocess.run([self._busybox, "depmod", "-b", self._files, self._release], check=True)

    def run(self, script: str, directory: Path, environment: Mapping[str, str], timeout: float) -> Result:
        """Boot, run `script` in `directory`, and switch the guest off."""
        with tempfile.TemporaryDirectory() as work:
            initrd = Path(work) / "initrd.gz"
            initrd.write_bytes(gzip.compress(b"".join(self._initrd(script, directory, environment)), 1))
            try:
                done = subprocess.run(self._command(initrd), capture_output=True, timeout=timeout, check=False)
            except subprocess.TimeoutExpired as late:
                return Result(-1, (late.stdout or b"").decode(errors="replace"))
        output = (done.stdout + done.stderr).decode(errors="replace").replace("\r\n", "\n")
        said, found, status = output.rpartition(_STATUS)
        return Result(int(status.split()[0]), said) if found else Result(-1, output)

    def _command(self, initrd: Path) -> list[str]:
        root = debian.unpacked(*_QEMU)
        libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
        share = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
        words = (
            f"env LD_LIBRARY_PATH={libraries} QEMU_MODULE_DIR={root}/usr/lib/x86_64-linux-gnu/qemu "
            f"{root}/usr/bin/qemu-system-x86_64 -L {root}/usr/share/seabios -L {root}/usr/share/qemu "
            "-nodefaults -no-user-config -display none -no-reboot -serial stdio -M q35 -accel tcg,thread=multi "
            f"-cpu max -m {self._memory} -smp {self._processors} -kernel {self._files}/boot/vmlinuz-{self._release} "
            f"-fsdev {share} -device virtio-9p-pci,fsdev=root,mount_tag=root"
        ).split()
        return [*words, "-initrd", str(initrd), "-append", "console=ttyS0 quiet panic=-1 mitigations=off"]

    def _initrd(self, script: str, directory: Path, environment: Mapping[str, str]) -> Iterable[bytes]:
        exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
        job = _JOB.format(exports=exports, directory=shlex.quote(str(directory)), script=script, status=_STATUS)
        init = _INIT.format(modules=" ".join(_FIRST_MODULES), modules_directory=self._modules, release=self._release)
        for name in ("bin", "dev", "lower", "modules", "proc", "root", "upper"):
            yield _cpio(name, 0o040755)
        yield _cpio("init", 0o100755, init.encode())
        yield _cpio("job", 0o100755, job.encode())
        yield _cpio("bin/busybox", 0o100755, self._busybox.read_bytes())
        found = {path.stem.replace("-", "_"): path for path in self._modules.rglob("*.ko")}
        for module in _FIRST_MODULES:
            yield _cpio(f"modules/{module}.ko", 0o100644, found[module].read_bytes())
        yield _cpio("TRAILER!!!", 0)


def _cpio(name: str, mode: int, content: bytes = b"") -> bytes:
    """An entry of an archive as the kernel unpacks it (cpio's `newc`)."""
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def lacks_ipip() -> bool:
    """Whether this kernel has no IPIP, tried in a throw-away namespace."""
    command = ["unshare", "--net", "ip", "link", "add", "name", "probe", "type", "ipip", "local", "127.0.0.1"]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def environment() -> dict[str, str]:
    """What a job needs of this process' environment to find the same programs and caches."""
    names = ("PATH", "HOME", "XDG_CACHE_HOME", "DCOS_CALICO_CACHE", "DCOS_CALICO_SOAK")
    return {name: os.environ[name] for name in names if name in os.environ}
