"""The host's apt configuration, apt.conf(5): ``A::B "value";`` and ``A { B "value"; };``."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\#(?!clear\b)[^\n]*   # comments
    |"(?P<quoted>[^"]*)"|(?P<mark>[{};])|(?P<word>[^\s"{};]+)""",
    re.VERBOSE | re.DOTALL,
)
_FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def parse(text: str, into: dict[str, str]) -> None:
    """Add the options of one file to `into`, by name (``acquire::http::proxy``); lists are left out."""
    scopes: list[str] = []
    words: list[str] = []
    quoted = False
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if token["quoted"] is not None or token["word"] is not None:
            quoted = token["quoted"] is not None
            words.append(token["quoted"] if quoted else token["word"])
        elif mark == "{":
            scopes.append(words[0].lower() if words else "")
            words = []
        elif mark == ";" and words:
            _assign(scopes, words, quoted, into)
            words = []
        elif mark == "}":
            words = []
            if scopes:
                scopes.pop()


def _assign(scopes: list[str], words: list[str], quoted: bool, into: dict[str, str]) -> None:
    if words[0] == "#clear":
        cleared = words[-1].lower()
        for name in [key for key in into if key == cleared or key.startswith(cleared + "::")]:
            del into[name]
        return
    if (len(words) == 1 and quoted) or words[0].endswith("::"):  # an element of a list
        return
    name = "::".join([scope for scope in scopes if scope] + [words[0].lower()])
    into[name] = words[1] if len(words) > 1 else ""


def load(root: str = "/", environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The options of the host whose root directory is `root`, read in apt's order; empty without apt."""
    env = os.environ if environment is None else environment
    found: dict[str, str] = {}
    parts = os.path.join(root, "etc/apt/apt.conf.d")
    names = sorted(os.listdir(parts)) if os.path.isdir(parts) else []
    paths = [env.get("APT_CONFIG", "")]
    paths += [os.path.join(parts, name) for name in names if _is_part(name)]
    paths.append(os.path.join(root, "etc/apt/apt.conf"))
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                parse(file.read(), found)
        except OSError:
            continue
    return found


def _is_part(name: str) -> bool:
    return bool(_FILE_NAME.fullmatch(name)) and ("." not in name or name.endswith(".conf"))


def is_false(value: str | None) -> bool:
    """Whether an option is switched off (apt: no, false, without, off, disable, 0)."""
    return value is not None and value.lower() in ("no", "false", "without", "off", "disable", "0")
