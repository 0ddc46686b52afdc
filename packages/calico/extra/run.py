"""Runs the program whose module is the first argument, from the directory this file stands in and from nowhere else."""

import importlib
import sys

sys.path.insert(0, __file__.rpartition("/")[0])
sys.exit(importlib.import_module(sys.argv.pop(1)).main())
