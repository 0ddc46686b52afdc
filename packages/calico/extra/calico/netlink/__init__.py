"""Raw netlink, for programs that a container's start waits for: messages, sockets, namespaces, links and routes."""
