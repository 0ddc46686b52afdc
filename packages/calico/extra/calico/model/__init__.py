"""Calico's v3.14 resources as typed, immutable values: parsing, writing, validation, defaults and etcd keys. No I/O.

Start with `calico.model.resource` (decode, encode, validate), `calico.model.kinds` (the table of kinds) and
`calico.model.keys` (where each lives in etcd). Importing this package loads none of them.
"""
