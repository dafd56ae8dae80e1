"""``python -m dnncc``."""

import sys

from dnncc.cli import main

sys.exit(main())
