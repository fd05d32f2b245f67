"""``python -m vibrissa.cli``."""

import sys

from vibrissa.cli import main

sys.exit(main())
