"""`python -m manageboot` is `manageboot`."""

import sys

from manageboot.cli import main

if __name__ == "__main__":
    sys.exit(main())
