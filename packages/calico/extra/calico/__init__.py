"""The Calico daemons of DC/OS nodes, speaking the v3.14 data model over etcd v3."""
