"""``python -m sharedarray``: the command line, see `sharedarray.cli.main`."""

import sys

from sharedarray.cli.main import script

if __name__ == "__main__":
    sys.exit(script())
