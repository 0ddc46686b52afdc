"""etcd on DC/OS masters: start, discovery and the operator's procedures."""
