"""What every daemon of ours does alike: tell systemd how it is, write its log, and serve its figures."""
