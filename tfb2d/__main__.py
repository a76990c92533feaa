"""`python -m tfb2d` is `tfb2d`."""

import sys

from tfb2d.cli import main

sys.exit(main())
