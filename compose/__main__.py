"""The command ``pycompose``."""

import gc
import sys

_GARBAGE = 50_000
"""What is imported lives as long as we do: the collector's default of 700 looks at it a hundred times."""


def main() -> int:
    """Run the command line; what is forked early must be forked before anything heavy is imported."""
    gc.set_threshold(_GARBAGE)
    from compose.cli.main import main as run
    from compose.ui.streams import prepare

    prepare()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
