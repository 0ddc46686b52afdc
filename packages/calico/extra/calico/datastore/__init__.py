"""The etcd v3 datastore: `Etcd`, its in-memory twin `MemoryStore`, and the `Syncer` on top of either.

Nothing is imported here: a short command pays only for the modules it uses. docs/explanation/datastore.md says what
each part promises.
"""
