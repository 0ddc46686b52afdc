"""The Docker Engine on Calico: its remote network driver and remote IPAM driver, and the networks of all agents."""
