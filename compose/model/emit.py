"""Values -> YAML text, as docker compose writes it: in blocks, long lines left whole, no anchors.

A text stays bare where it can, is quoted where it would be read as something else, and is a literal block
where it has several lines. What only readers of YAML 1.1 take for something else is quoted too, which docker
compose does not do: whoever reads the text gets the same values.
"""

from __future__ import annotations

import re

from compose.model.scalars import looks_like_date, resolve
from compose.model.values import go_float

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BARE = re.compile(r"[A-Za-z/][A-Za-z0-9/_.-]*\Z")
_UNPRINTABLE = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_ESCAPED = re.compile("[^ !#-\\[\\]-~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_INDICATOR = re.compile(
    r"""[#,\[\]{}&*!|>'"%@`]|[?:-](?:[ \t]|\Z)|---|\.\.\.| |.*(?::(?:[ \t]|\Z)|[ \t]#| \Z)"""
)
"""What no bare text begins with, or holds."""
_WORDS = frozenset(
    "y Y yes Yes YES on On ON n N no No NO off Off OFF = << "
    "true True TRUE false False FALSE null Null NULL".split()
)
_OTHER_NUMBER = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|0[bx]_+|\.[0-9_]+(?:[eE][-+][0-9]+)?)\Z"
)
"""Numbers of YAML 1.1 alone: of base 60, without digits, with underscores."""
_ESCAPES = {
    **{"\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e"},
    **{'"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P"},
}
_LONGEST_KEY = 128
"""Bytes of a key that stands before its colon; a longer one takes a line of its own."""
_BASE64_LINE = 70


def emit(value: Any, step: int = 2) -> str:
    """The text of a tree of dicts, lists and scalars; mappings in mappings are indented by `step`."""
    emitter = _Emitter(step)
    emitter.root(value)
    return "".join(emitter.parts)


class _Emitter:
    def __init__(self, step: int) -> None:
        self.parts: list[str] = []
        self._step = step

    def root(self, value: Any) -> None:
        if value and isinstance(value, (dict, list)):
            self._container(value, 0)
        else:
            self.parts.append(f"{self._scalar(value, self._step)}\n")

    def _container(self, value: Any, indent: int) -> None:
        """A mapping or list that holds something; the line has reached column `indent`."""
        if isinstance(value, dict):
            self._mapping(value, indent)
            return
        margin = ""
        for item in value:
            self.parts.append(f"{margin}-")
            self._beside(item, indent + 2)
            margin = " " * indent

    def _mapping(self, value: dict[str, Any], indent: int) -> None:
        margin = ""
        for key, item in value.items():
            text = _BARE.match(key) and key not in _WORDS and key or self._text(key, indent + self._step)
            if "\n" not in text and _length(key) <= _LONGEST_KEY:
                self.parts.append(f"{margin}{text}:")
                self._below(item, indent + self._step)
            else:
                self.parts.append(f"{margin}? {text}\n{' ' * indent}:")
                self._beside(item, indent + self._step)
            margin = " " * indent

    def _below(self, value: Any, indent: int) -> None:
        """The value of a key: containers begin a line."""
        if value and isinstance(value, (dict, list)):
            self.parts.append("\n" + " " * indent)
            self._container(value, indent)
        else:
            self.parts.append(f" {self._scalar(value, indent)}\n")

    def _beside(self, value: Any, indent: int) -> None:
        """What stands behind a dash or a lonely colon: containers go on in the line."""
        if value and isinstance(value, (dict, list)):
            self.parts.append(" ")
            self._container(value, indent)
        else:
            self.parts.append(f" {self._scalar(value, indent)}\n")

    def _scalar(self, value: Any, indent: int) -> str:
        if isinstance(value, str):
            return self._text(value, indent)
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return _float(value)
        if isinstance(value, (dict, list)):
            return "{}" if isinstance(value, dict) else "[]"
        return str(value)

    def _text(self, text: str, indent: int) -> str:
        tag = ""
        try:
            text.encode()
        except UnicodeEncodeError:  # bytes that are no UTF-8, of the environment for instance
            tag, text = "!!binary ", _base64(text)
        unprintable = _UNPRINTABLE.search(text)
        if "\n" in text:
            if unprintable or text[0] == "\t" or text[-1] == " " or " \n" in text:
                return tag + _quoted(text)
            return tag + self._literal(text, indent)
        if not tag and _means_something(text):
            return _quoted(text)
        if not _INDICATOR.match(text) and "\t" not in text and not unprintable:
            return tag + text
        if unprintable or "\t" in text:
            return tag + _quoted(text)
        return tag + "'" + text.replace("'", "''") + "'"

    def _literal(self, text: str, indent: int) -> str:
        header = "|"
        if text[0] in " \n":
            header += str(self._step)
        if text[-1] != "\n":
            header += "-"
        elif text == "\n" or text[-2] == "\n":
            header += "+"
        margin = " " * indent
        lines = text.removesuffix("\n").split("\n")
        return "\n".join([header, *(margin + line if line else "" for line in lines)])


def _length(key: str) -> int:
    return len(key) if key.isascii() else len(key.encode("utf-8", "surrogateescape"))


def _means_something(text: str) -> bool:
    """Whether a bare text would be read as something else than this text."""
    if text in _WORDS or type(resolve(text)) is not str:
        return True
    return text[0] in "+-.0123456789" and bool(_OTHER_NUMBER.match(text) or looks_like_date(text))


def _quoted(text: str) -> str:
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _ESCAPES:
        return "\\" + _ESCAPES[character]
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _base64(text: str) -> str:
    import base64

    encoded = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
    lines = [encoded[index : index + _BASE64_LINE] for index in range(0, len(encoded), _BASE64_LINE)]
    return encoded if len(lines) == 1 else "".join(f"{line}\n" for line in lines)


def _float(value: float) -> str:
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    return go_float(value)
