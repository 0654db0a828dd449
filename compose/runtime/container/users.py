"""Who a process runs as, read from the container's own files by our own parser.

The C library's lookup would load the container's name service modules into a privileged process, so
/etc/passwd and /etc/group are opened below a descriptor of the root (no link may lead out of it), as regular
files only, and at most 4 MiB of each are read.

The rules are Docker's: ``name``, ``uid``, ``name:group``, ``uid:gid``. A number that is in no passwd file is
valid and gets group 0; an unknown name is an error, never "root". The primary group is always among the
supplementary ones (CVE-2022-36109).
"""

from __future__ import annotations

import os
import stat

from compose.linux.beneath import open_in_root
from compose.runtime.container.steps import GROUP_ADD, INVALID_ID, NO_SUCH_GROUP, NO_SUCH_USER, USER, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.runtime.spec import User

    Stamp = tuple[tuple[int, ...], ...]

FILES = ("etc/passwd", "etc/group")
LARGEST_ID = 2**32 - 2
_LARGEST_FILE = 4 << 20
_DIGITS = frozenset("0123456789")


class Identity:
    """A resolved user: numbers only."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: Sequence[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = list(dict.fromkeys([gid, *groups]))
        self.home = home


class _Account:
    __slots__ = ("gid", "home", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, home: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home


def resolve(user: User, root: int) -> Identity:
    """The identity that `user` means in the root file system `root` (a directory descriptor).

    Raises `Failure` of step USER or GROUP_ADD with NO_SUCH_USER, NO_SUCH_GROUP or INVALID_ID.
    """
    accounts = _accounts(read_small(root, FILES[0]))
    groups = read_small(root, FILES[1]) if _needs_groups(user) else ""
    if "username" not in user and "uid" in user:
        uid = _checked(user["uid"])
        found = _by_uid(accounts, uid)
        identity = Identity(uid, _checked(user.get("gid", 0)), (), found.home if found else "/")
    else:
        identity = _resolve_name(user.get("username", ""), accounts, groups)
    extra = [_checked(gid) for gid in user.get("additionalGids", ())]
    for index, name in enumerate(user.get("additionalGroups", ())):
        try:
            extra.append(_group_id(name, groups))
        except Failure as failure:
            raise Failure(GROUP_ADD, failure.number, index) from None
    return Identity(identity.uid, identity.gid, [*identity.groups, *extra], identity.home)


def stamp(root: int) -> Stamp:
    """What changes when one of `FILES` changes, which `resolve` reads: of each device, inode, size, time of
    its content and time of its change (ns)."""
    found: list[tuple[int, ...]] = []
    for path in FILES:
        try:
            handle = open_in_root(root, path, os.O_PATH)
        except OSError:
            found.append((0,))
            continue
        try:
            what = os.fstat(handle)
        finally:
            os.close(handle)
        found.append((what.st_dev, what.st_ino, what.st_size, what.st_mtime_ns, what.st_ctime_ns))
    return tuple(found)


def read_small(root: int, path: str) -> str:
    """The text of a regular file below `root`, "" when there is none; never follows a link out of it."""
    try:
        handle = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        parts = []
        left = _LARGEST_FILE
        while left > 0 and (part := os.read(handle, min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(handle)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _needs_groups(user: User) -> bool:
    return "username" in user or "uid" not in user or bool(user.get("additionalGroups"))


def _resolve_name(text: str, accounts: list[_Account], groups: str) -> Identity:
    name, colon, group = text.partition(":")
    if colon and not (name or group):
        raise Failure(USER, INVALID_ID)
    account = _account(name or "0", accounts)
    if group:
        return Identity(account.uid, _group_id(group, groups), (), account.home)
    members = [gid for _, gid, names in _groups(groups) if account.name and account.name in names]
    return Identity(account.uid, account.gid, members, account.home)


def _account(name: str, accounts: list[_Account]) -> _Account:
    """An account by name; else by number, which may be one that no file knows."""
    for account in accounts:
        if account.name == name:
            return account
    uid = decimal(name)
    if uid is None:
        # "-1", "1.5" and "99999999999" are attempts at a number, whatever file they are not in
        looks_numeric = name.lstrip("+-")[:1] in _DIGITS and name.lstrip("+-")[:1] != ""
        raise Failure(USER, INVALID_ID if looks_numeric else NO_SUCH_USER)
    return _by_uid(accounts, uid) or _Account("", uid, 0, "/")


def _by_uid(accounts: list[_Account], uid: int) -> _Account | None:
    for account in accounts:
        if account.uid == uid:
            return account
    return None


def _group_id(name: str, text: str) -> int:
    for found, gid, _ in _groups(text):
        if found == name:
            return gid
    number = decimal(name)
    if number is None:
        raise Failure(USER, INVALID_ID if name[:1] in _DIGITS else NO_SUCH_GROUP)
    return number


def decimal(text: str) -> int | None:
    """A user or group id in strict decimal (no sign, no space, no other script), or None."""
    if not text or len(text) > 10 or not _DIGITS.issuperset(text):
        return None
    value = int(text)
    return value if value <= LARGEST_ID else None


def _checked(value: int) -> int:
    if not 0 <= value <= LARGEST_ID:
        raise Failure(USER, INVALID_ID)
    return value


def _accounts(text: str) -> list[_Account]:
    """The whole lines of a passwd file; a damaged line counts for nothing."""
    found = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 6 or not fields[0] or line.startswith("#"):
            continue
        uid, gid = decimal(fields[2]), decimal(fields[3])
        if uid is not None and gid is not None:
            found.append(_Account(fields[0], uid, gid, fields[5] or "/"))
    return found


def _groups(text: str) -> list[tuple[str, int, list[str]]]:
    found = []
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 3 or not fields[0] or line.startswith("#"):
            continue
        gid = decimal(fields[2])
        if gid is not None:
            found.append((fields[0], gid, fields[3].split(",") if len(fields) > 3 else []))
    return found
