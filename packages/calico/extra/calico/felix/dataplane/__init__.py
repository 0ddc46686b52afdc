"""From the desired dataplane to the kernel: nftables, routes, tunnels, sysctls and connection tracking."""
