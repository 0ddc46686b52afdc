"""The packet filter: what is desired as two nftables tables, written and kept true by raw nfnetlink."""
