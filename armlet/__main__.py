"""``python -m armlet`` is ``armlet``."""

import sys

from armlet.cli import main

sys.exit(main())
