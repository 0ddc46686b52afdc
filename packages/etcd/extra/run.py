"""Runs a command of dcos_etcd from the directory this file stands in: `run.py MODULE ARGUMENTS...`."""

import sys
from importlib import import_module

sys.path.insert(0, __file__.rpartition("/")[0])

sys.exit(import_module(f"dcos_etcd.{sys.argv[1]}").main(sys.argv[2:]))
