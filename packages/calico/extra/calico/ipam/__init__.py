"""IPAM: addresses for workloads and tunnels, out of blocks that hosts own. Wire-compatible with Calico v3.14.

Start with `calico.ipam.allocator.Ipam`, `calico.ipam.check.check` and docs/explanation/ipam.md. Nothing is imported
here: a short command pays only for the modules it uses.
"""
