"""One module for each command of `release`: `configure(parser)` and `run(args) -> exit status`."""
