"""`python -m release` is `release`."""

import sys

from release.cli import main

sys.exit(main())
