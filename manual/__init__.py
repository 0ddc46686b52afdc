"""The documentation as a site: pages from docs/, a page for every command from its own --help, and their checks."""
