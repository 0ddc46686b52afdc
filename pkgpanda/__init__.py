"""Packages as content-addressed archives: `build` makes them on a workstation, `node` installs them on a host."""
