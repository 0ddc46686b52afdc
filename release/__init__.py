"""Packages and configuration into a bundle; bundles into releases, and releases into channels."""

VERSION = "0.1.0"
