"""A cluster on one machine: real systemd nodes in network namespaces."""
