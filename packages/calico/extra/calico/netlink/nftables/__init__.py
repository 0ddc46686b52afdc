"""nftables by raw nfnetlink: expressions, objects, what to send for them, transactions and dumps."""
