"""Which policy, rule or profile decides about a packet, in order, and why: by the desired dataplane, without a kernel.

`matching` compares one rule with one packet, `lists` goes through an endpoint's policies and profiles, `path` through
all that stands in a packet's way on one node, and `routes` finds where it goes.
"""
