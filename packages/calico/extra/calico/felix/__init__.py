"""Felix: policy, routes and tunnels in the kernel, from what the datastore holds."""
