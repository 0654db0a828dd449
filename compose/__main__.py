"""The command ``pycompose``."""

from __future__ import annotations

import atexit
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_GARBAGE = 50_000
"""What is imported lives as long as we do: the collector's default of 700 looks at it a hundred times."""


def main() -> None:
    """Run the command line; what is forked early must be forked before anything heavy is imported."""
    gc.set_threshold(_GARBAGE)
    from compose.cli.main import main as run
    from compose.ui.streams import prepare

    prepare()
    if "--debug" not in sys.argv:
        sys.unraisablehook = _pass_over
    _leave(run(sys.argv[1:]))


def _leave(code: int) -> NoReturn:
    """End as the interpreter does, but do not take apart all that was imported: that takes as long as many a
    command."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # it has said so already, or nobody reads it
            continue
    os._exit(code)


def _pass_over(unraisable: object) -> None:
    """After an error, what cannot be taken apart in an orderly way (an event loop, perhaps) adds nothing."""


if __name__ == "__main__":
    main()
