"""What every daemon of ours does alike: tell systemd how it is, log, keep files, and serve its figures."""
