"""Runs pkgpanda's command line from the directory this file stands in, and from nowhere else."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from pkgpanda.node.cli import main

sys.exit(main())
