"""One of many processes that take and give back addresses of a real etcd: `racer.py URL HOST NAME COUNT`.

Prints a line for each change of what it holds, before it may be anybody else's and after it is its own.
"""

import random
import sys

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request


def main() -> None:
    url, host, name, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    ipam = Ipam(Etcd(EtcdSettings((url,), timeout=30.0)))
    chance = random.Random(name)
    print("ready", flush=True)
    sys.stdin.readline()
    mine: list[tuple[str, str]] = []
    for turn in range(count):
        handle = f"{name}-{turn}"
        answer = ipam.auto_assign(Request(host, ipv4=1, handle=handle, attributes={"node": host}))
        for one in answer.ipv4:
            mine.append((one.address, handle))
            print("+", one.address, handle, flush=True)
        if not answer.ipv4:
            print("!", *answer.shortages, flush=True)
        if mine and chance.random() < 0.2:
            address, handle = mine.pop(chance.randrange(len(mine)))
            print("-", address, handle, flush=True)
            if chance.random() < 0.5:
                ipam.release_handle(handle)
            else:
                ipam.release_ips([address])
    print("done", flush=True)


if __name__ == "__main__":
    main()
