"""Typed access to resources, with the guards and side effects that upstream's client has.

`Client` (resources.py) is what programs use. Nothing is imported here: a short command loads only what it needs.
"""
