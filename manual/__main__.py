"""`python -m manual`."""

import sys

from manual.cli import main

sys.exit(main())
