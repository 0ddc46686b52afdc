"""pkgpanda: packages to a running host (node). Standard library only: it runs before anything else is installed."""
