"""Packages and configuration into a bundle; later: channels and promotion."""

VERSION = "0.1.0"
