"""The command ``pycompose``."""

import sys


def main() -> int:
    """Run the command line; what is forked early must be forked before anything heavy is imported."""
    from compose.cli.main import main as run
    from compose.ui.streams import prepare

    prepare()
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
