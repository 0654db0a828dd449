"""With which flags the interpreter of helpers is executed: they do without docstrings and assertions.

These are in the memory of every helper, and of no use there. Python keeps bytecode without them beside the
ordinary one (PEP 488, ``-OO``). It is made once after an installation, by a process that does nothing else:
whoever compiles keeps the memory that compiling took. Where nothing can be written beside the modules,
helpers use the ordinary bytecode.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN = ("-I", "-S", "-X", "utf8", "-X", "no_debug_ranges")
"""Neither site-packages nor the user's settings, nor the columns of tracebacks."""
_LEAN = "-OO"
_IMPORT = "import sys; sys.path.insert(0, sys.argv[1]); [__import__(name) for name in sys.argv[2:]]"


def flags(root: str, modules: Sequence[str]) -> tuple[str, ...]:
    """The interpreter's flags; `root` is the directory that package and helpers are imported from, `modules`
    are what they load. The bytecode is made when that of the first of them is missing or outdated."""
    source = f"{root}/{modules[0].replace('.', '/')}.py"
    if _is_current(source) or _compile(root, source, modules):
        return (_LEAN, *PLAIN)
    return PLAIN


def _cached(source: str) -> str:
    directory, name = os.path.split(source)
    return f"{directory}/__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.opt-2.pyc"


def _is_current(source: str) -> bool:
    try:
        return os.stat(_cached(source)).st_mtime >= os.stat(source).st_mtime
    except OSError:
        return False


def _compile(root: str, source: str, modules: Sequence[str]) -> bool:
    """Import them in a process that keeps their bytecode; False where that cannot be kept."""
    if not os.access(os.path.dirname(source), os.W_OK):
        return False
    arguments = [sys.executable, _LEAN, *PLAIN, "-c", _IMPORT, root, *modules]
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    try:
        pid = os.posix_spawn(sys.executable, arguments, {}, file_actions=silent)
    except OSError:
        return False
    os.waitpid(pid, 0)
    return _is_current(source)
