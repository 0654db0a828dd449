"""The index: one SQLite file that knows every project, container, network, volume and address.

A row is the *intent*: it is committed before the thing is made and deleted after the thing is gone, so that
whatever a killed command left behind is named here. What a thing is like, and how it fares, stands in the
files beside it (state/paths.py), never here.

Locking: changes of one project happen under its project lock (state/lock.py). What is shared between
projects (names, subnets, addresses) is decided inside one ``BEGIN IMMEDIATE`` transaction, `Index.change`. A
plain rollback journal with full sync is slower than a write-ahead log, and safe on every file system. The
journal's file is kept, so that rows can be deleted on a disk that is full.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import sqlite3

from compose.errors import StateError
from compose.state.files import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from compose.state.paths import Paths

VERSION = 1
_BUSY_TIMEOUT = 60.0

_SCHEMA = """
CREATE TABLE projects (
    name TEXT PRIMARY KEY, directory TEXT NOT NULL, files TEXT NOT NULL);
CREATE TABLE containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, project TEXT NOT NULL, service TEXT NOT NULL,
    number INTEGER NOT NULL, oneoff INTEGER NOT NULL, config_hash TEXT NOT NULL, image TEXT NOT NULL,
    created INTEGER NOT NULL);
CREATE INDEX containers_of_project ON containers (project);
CREATE TABLE networks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, project TEXT NOT NULL, key TEXT NOT NULL,
    subnet TEXT NOT NULL, gateway TEXT NOT NULL, subnet6 TEXT NOT NULL, gateway6 TEXT NOT NULL,
    pool TEXT NOT NULL, internal INTEGER NOT NULL, config_hash TEXT NOT NULL, labels TEXT NOT NULL);
CREATE TABLE endpoints (
    network TEXT NOT NULL, slot TEXT NOT NULL, ipv4 TEXT NOT NULL, ipv6 TEXT,
    PRIMARY KEY (network, slot), UNIQUE (network, ipv4), UNIQUE (network, ipv6));
CREATE TABLE volumes (
    name TEXT PRIMARY KEY, project TEXT NOT NULL, key TEXT NOT NULL, container TEXT NOT NULL,
    driver TEXT NOT NULL, labels TEXT NOT NULL, config_hash TEXT NOT NULL, created INTEGER NOT NULL);
"""


def as_text(path: str) -> str:
    """A path as text that SQLite takes, whatever bytes are in it; only for people."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


class ContainerRow:
    """One row of ``containers``."""

    __slots__ = ("config_hash", "created", "id", "image", "name", "number", "oneoff", "project", "service")

    def __init__(
        self,
        id: str,
        name: str,
        project: str,
        service: str,
        number: int,
        oneoff: int,
        config_hash: str,
        image: str,
        created: int,
    ) -> None:
        self.id = id
        self.name = name
        self.project = project
        self.service = service
        self.number = number
        self.oneoff = bool(oneoff)
        self.config_hash = config_hash
        self.image = image
        self.created = created


class NetworkRow:
    """One row of ``networks``.

    `key` is the name in the compose file; `subnet6` and `gateway6` are empty without IPv6; `pool` says which
    addresses of the subnets are given out: ip_range, ip_range6, reserved.
    """

    __slots__ = (
        "config_hash",
        "gateway",
        "gateway6",
        "id",
        "internal",
        "key",
        "labels",
        "name",
        "pool",
        "project",
        "subnet",
        "subnet6",
    )

    def __init__(
        self,
        id: str,
        name: str,
        project: str,
        key: str,
        subnet: str,
        gateway: str,
        subnet6: str,
        gateway6: str,
        pool: str,
        internal: int,
        config_hash: str,
        labels: str,
    ) -> None:
        self.id = id
        self.name = name
        self.project = project
        self.key = key
        self.subnet = subnet
        self.gateway = gateway
        self.subnet6 = subnet6
        self.gateway6 = gateway6
        self.pool: dict[str, Any] = loads(pool.encode())
        self.internal = bool(internal)
        self.config_hash = config_hash
        self.labels: dict[str, str] = loads(labels.encode())


class VolumeRow:
    """One row of ``volumes``; `container` is the id of the owner of an anonymous volume, else empty."""

    __slots__ = ("config_hash", "container", "created", "driver", "key", "labels", "name", "project")

    def __init__(
        self,
        name: str,
        project: str,
        key: str,
        container: str,
        driver: str,
        labels: str,
        config_hash: str,
        created: int,
    ) -> None:
        self.name = name
        self.project = project
        self.key = key
        self.container = container
        self.driver = driver
        self.labels: dict[str, str] = loads(labels.encode())
        self.config_hash = config_hash
        self.created = created


class ProjectRow:
    """One row of ``projects``."""

    __slots__ = ("directory", "files", "name")

    def __init__(self, name: str, directory: str, files: str) -> None:
        self.name = name
        self.directory = directory
        self.files: list[str] = loads(files.encode())


def _has_no_inode(directory: str) -> bool:
    """Whether no file can be made there any more; some file systems (btrfs) do not count them."""
    status = os.statvfs(directory)
    return status.f_files > 0 and status.f_favail == 0


class Index:
    """A connection to the index: one a process, never across a fork. Threads take turns."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.index
        self._turn = _thread.RLock()
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._damaged(error) from None
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        """Set the connection up, and lay the tables of a new index."""
        try:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA journal_mode = PERSIST")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._initialise()
            elif version != VERSION:
                raise StateError(
                    f"{self._path}: layout {version} of another pycompose version, this one reads {VERSION}",
                    hint="use that version, or set PYCOMPOSE_DATA_DIR to a new directory",
                )
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    def _initialise(self) -> None:
        with self.change() as transaction:
            (version,) = transaction.execute("PRAGMA user_version").fetchone()
            if version:
                return
            for statement in _SCHEMA.split(";"):
                transaction.execute(statement)
            transaction.execute(f"PRAGMA user_version = {VERSION}")

    def _damaged(self, error: sqlite3.Error) -> StateError:
        """What the user is told; to give the index up is a hint only where nothing can be read from it."""
        hint = None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            hint = f"mv {self._path} {self._path}.damaged, then run 'up' of every project again"
        if code == sqlite3.SQLITE_CANTOPEN and _has_no_inode(os.path.dirname(self._path)):
            return StateError(f"{self._path}: {os.strerror(errno.ENOSPC)} (no inode is left)")
        return StateError(f"{self._path}: {error}", hint=hint)

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One exclusive transaction: committed and synced at the end, or rolled back whole."""
        with self._turn:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise self._damaged(error) from None
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._rollback()
                raise self._damaged(error) from None
            except BaseException:
                self._rollback()
                raise

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def _rows(self, query: str, arguments: Iterable[Any] = ()) -> list[Any]:
        try:
            with self._turn:
                return self._connection.execute(query, tuple(arguments)).fetchall()
        except sqlite3.Error as error:
            raise self._damaged(error) from None

    # Reading ----------------------------------------------------------------------------------------------

    def projects(self) -> list[ProjectRow]:
        return [ProjectRow(*row) for row in self._rows("SELECT * FROM projects ORDER BY name")]

    def project(self, name: str) -> ProjectRow | None:
        rows = self._rows("SELECT * FROM projects WHERE name = ?", (name,))
        return ProjectRow(*rows[0]) if rows else None

    def containers(self, project: str | None = None) -> list[ContainerRow]:
        """The containers of one project, or of all, by service and number."""
        where, arguments = ("WHERE project = ?", (project,)) if project is not None else ("", ())
        rows = self._rows(f"SELECT * FROM containers {where} ORDER BY service, number", arguments)
        return [ContainerRow(*row) for row in rows]

    def container_named(self, name: str) -> ContainerRow | None:
        rows = self._rows("SELECT * FROM containers WHERE name = ?", (name,))
        return ContainerRow(*rows[0]) if rows else None

    def networks(self, project: str | None = None) -> list[NetworkRow]:
        where, arguments = ("WHERE project = ?", (project,)) if project is not None else ("", ())
        return [
            NetworkRow(*row) for row in self._rows(f"SELECT * FROM networks {where} ORDER BY key", arguments)
        ]

    def abandoned(self, leaving: str = "") -> list[str]:
        """Projects that are down and have left a network which nobody uses but the project `leaving`."""
        rows = self._rows(
            "SELECT DISTINCT project FROM networks WHERE project NOT IN (SELECT name FROM projects)"
            " AND NOT EXISTS (SELECT 1 FROM containers WHERE containers.project = networks.project)"
            " AND NOT EXISTS (SELECT 1 FROM endpoints WHERE network = id"
            " AND substr(slot, 1, ?) != ?) ORDER BY project",
            (len(leaving) + 1, f"{leaving}."),
        )
        return [name for (name,) in rows]

    def network_named(self, name: str) -> NetworkRow | None:
        rows = self._rows("SELECT * FROM networks WHERE name = ?", (name,))
        return NetworkRow(*rows[0]) if rows else None

    def volumes(self, project: str | None = None) -> list[VolumeRow]:
        where, arguments = ("WHERE project = ?", (project,)) if project is not None else ("", ())
        return [
            VolumeRow(*row) for row in self._rows(f"SELECT * FROM volumes {where} ORDER BY name", arguments)
        ]

    def volume_named(self, name: str) -> VolumeRow | None:
        rows = self._rows("SELECT * FROM volumes WHERE name = ?", (name,))
        return VolumeRow(*rows[0]) if rows else None

    def endpoints(self, network: str) -> dict[str, tuple[str, str]]:
        """Slot -> IPv4 address, and IPv6 address or "", in one network."""
        rows = self._rows("SELECT slot, ipv4, ipv6 FROM endpoints WHERE network = ?", (network,))
        return {slot: (ipv4, ipv6 or "") for slot, ipv4, ipv6 in rows}
