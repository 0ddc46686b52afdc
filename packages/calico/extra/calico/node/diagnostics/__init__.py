"""Diagnostics of a node: what is collected, what looks wrong in it, and the archive and page that hold both."""
