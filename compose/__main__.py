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
    if "--debug" not in sys.argv:
        sys.unraisablehook = _pass_over
    return run(sys.argv[1:])


def _pass_over(unraisable: object) -> None:
    """After an error, what cannot be taken apart in an orderly way (an event loop, perhaps) adds nothing."""


if __name__ == "__main__":
    sys.exit(main())
