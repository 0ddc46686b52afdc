"""A program for tests: follow /calico/test/ with a Syncer and print a JSON line for all that happens.

`python -m tests.integration.datastore.observer SETTINGS`, where SETTINGS is a JSON object of EtcdSettings' fields:
`{"update": KEY, "value": TEXT|null, "revision": N}`, `{"in_sync": N}`, `{"member": URL}` when another member delivers.
"""

import json
import sys

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.syncer import InSync, Syncer


def _say(**members: object) -> None:
    print(json.dumps(members), flush=True)


def main() -> None:
    """Follow until killed."""
    options = json.loads(sys.argv[1])
    options["endpoints"] = tuple(options["endpoints"])
    store = Etcd(EtcdSettings(**options))
    syncer = Syncer(store, {"/calico/test/": lambda _key, raw, _revision: raw.decode()})
    member = ""
    for batch in syncer.batches(tick=0.2):
        for item in batch:
            if isinstance(item, InSync):
                _say(in_sync=item.revision)
            else:
                _say(update=item.key, value=item.value, revision=item.revision)
        if syncer.member != member:
            member = syncer.member
            _say(member=member)


if __name__ == "__main__":
    main()
