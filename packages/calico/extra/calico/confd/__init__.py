"""BGP: what the datastore says of nodes, peers, pools and blocks, as BIRD 2's configuration; and BIRD's own state.

`cluster` gathers the stream of the datastore, `peering` and `plan` decide, `render` writes, `apply` checks, replaces
and reloads, `daemon` does all of it for ever. `control` and `sessions` ask BIRD how it fares, for metrics and for
`calicoctl node status`. docs/explanation/confd.md has the whole.
"""
