"""The options of a mount in an OCI configuration."""

from __future__ import annotations

from compose.linux import mount as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SET = {
    "ro": m.MOUNT_ATTR_RDONLY,
    "nosuid": m.MOUNT_ATTR_NOSUID,
    "nodev": m.MOUNT_ATTR_NODEV,
    "noexec": m.MOUNT_ATTR_NOEXEC,
    "nodiratime": m.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": m.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "diratime": "nodiratime"}
_ATIME = {
    "relatime": m.MOUNT_ATTR_RELATIME,
    "noatime": m.MOUNT_ATTR_NOATIME,
    "strictatime": m.MOUNT_ATTR_STRICTATIME,
}
_PROPAGATION = {
    "private": m.MS_PRIVATE,
    "shared": m.MS_SHARED,
    "slave": m.MS_SLAVE,
    "unbindable": m.MS_UNBINDABLE,
}
_IGNORED = frozenset({"defaults", "async", "norelatime", "nostrictatime", "atime", "bind", "rbind"})


class Options:
    """An OCI mount's option list, sorted by what each one acts on."""

    __slots__ = (
        *("attr_clr", "attr_set", "bind", "data", "propagation", "recursive", "tree_clr", "tree_set"),
    )

    def __init__(self, words: Sequence[str]) -> None:
        self.attr_set = 0
        self.attr_clr = 0
        self.tree_set = 0
        self.tree_clr = 0
        self.propagation = 0
        self.bind = "bind" in words or "rbind" in words
        self.recursive = "rbind" in words
        self.data: dict[str, str] = {}
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if word in _IGNORED:
            return
        if word in _SET:
            self.attr_set |= _SET[word]
        elif word in _CLEAR:
            self.attr_clr |= _SET[_CLEAR[word]]
        elif word in _ATIME:
            self.attr_clr |= m.MOUNT_ATTR__ATIME
            self.attr_set = self.attr_set & ~m.MOUNT_ATTR__ATIME | _ATIME[word]
        elif word[:1] == "r" and word[1:] in _SET:
            self.tree_set |= _SET[word[1:]]
        elif word[:1] == "r" and word[1:] in _CLEAR:
            self.tree_clr |= _SET[_CLEAR[word[1:]]]
        elif word.removeprefix("r") in _PROPAGATION:  # for all that is bound, as far as that goes
            self.propagation = _PROPAGATION[word.removeprefix("r")]
        else:
            key, _, value = word.partition("=")
            self.data[key] = value

    def apply(self, tree: int) -> None:
        """Give the detached bind mount `tree` these options."""
        propagation = self.propagation or m.MS_PRIVATE
        whole = m.AT_RECURSIVE if self.recursive else 0
        m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH | whole, propagation=propagation)
        if self.attr_set or self.attr_clr:
            m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=self.attr_set, attr_clr=self.attr_clr)
        if self.tree_set or self.tree_clr:
            flags = m.AT_EMPTY_PATH | m.AT_RECURSIVE
            m.mount_setattr(tree, "", flags=flags, attr_set=self.tree_set, attr_clr=self.tree_clr)


def option_names() -> list[str]:
    """Every option that is not handed on to the file system."""
    recursive = {f"r{name}" for name in (*_SET, *_CLEAR, *_PROPAGATION)}
    return sorted({*_SET, *_CLEAR, *_ATIME, *_PROPAGATION, *recursive, *_IGNORED})
