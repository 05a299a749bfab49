"""`python -m dlreg` is `dlreg`."""

import sys

from dlreg.cli import main

sys.exit(main())
