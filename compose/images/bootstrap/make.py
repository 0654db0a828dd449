"""The bootstrap from the first download to the finished tree.

Downloads, decompression and unpacking overlap: eight threads fetch, two unpack (decompressors and file system
calls run outside the interpreter lock).
"""

from __future__ import annotations

import os
import platform
import struct
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from compose.errors import ImageError
from compose.images.bootstrap import aptconf, deb, dpkg, finish, release, sources
from compose.images.bootstrap.configure import POLICY, configure
from compose.images.bootstrap.fetch import Fetcher, NotFoundError
from compose.images.bootstrap.packages import Index, Package, Pool
from compose.images.bootstrap.request import Bootstrapped, familiar, target
from compose.images.bootstrap.resolve import configuration_order, resolve
from compose.images.bootstrap.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compose.images.bootstrap.dpkg import Unpacked
    from compose.images.bootstrap.release import Release
    from compose.images.bootstrap.request import Progress, Target

_ARCHITECTURES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "armv8l": "armhf", "i686": "i386",
    "ppc64le": "ppc64el", "s390x": "s390x", "riscv64": "riscv64",
}  # fmt: skip
_THIRTY_TWO_BITS = {"amd64": "i386", "arm64": "armhf"}
_OCI_ARCHITECTURES = {"armhf": "arm", "i386": "386", "ppc64el": "ppc64le"}
_MERGED = {"amd64": ("lib64",), "ppc64el": ("lib64",)}
_DOWNLOADS = 8
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def architecture() -> str:
    """Debian's name for what this Python runs on; raises `ImageError`."""
    machine = platform.machine()
    found = _ARCHITECTURES.get(machine)
    if found and struct.calcsize("P") == 4:
        found = _THIRTY_TWO_BITS.get(found, found)
    if not found:
        raise ImageError(f"Debian has no packages for {machine}")
    return found


def make(
    reference: str,
    into: str,
    *,
    progress: Progress,
    cache: str | None,
    mirror: str | None,
) -> Bootstrapped:
    """See `compose.images.bootstrap.bootstrap`."""
    wanted = target(reference)
    if wanted is None:
        raise ImageError(f"{reference} is not an image that can be made from packages")
    try:
        if os.listdir(into):
            raise ImageError(f"{into} is not empty")
        return _make(wanted, into, Report(familiar(reference), progress), cache, mirror)
    except OSError as error:  # the disk is full, for example
        raise ImageError(f"make {familiar(reference)} in {into}: {error.strerror or error}") from error


def _make(wanted: Target, into: str, report: Report, cache: str | None, mirror: str | None) -> Bootstrapped:
    options = aptconf.load()
    chosen = sources.choose(wanted.codename, sources.load(), given=mirror)
    machine = architecture()
    with (
        Fetcher(cache=cache, options=options, received=report.received) as fetcher,
        Tree(into, finish.slim_excludes() if wanted.slim else None) as tree,
    ):
        report.say("reading the mirror's index")
        releases = find_releases(fetcher, wanted.codename, chosen, options)
        date = max(one.date for one in releases)
        packages = choose_packages(fetcher, wanted.codename, releases, machine)
        report.expect(packages)
        unpacked = fetch_and_unpack(fetcher, tree, packages, machine)
        tree.finish(package.contents.directories for package in unpacked)
        report.say("configuring packages")
        _prepare(tree)
        dpkg.write(tree, unpacked)
        configure(tree, unpacked, date=date)
        finish.finish(tree, releases, options, slim=wanted.slim, date=date)
    version = releases[0].version
    source = f"debian {version} ({wanted.codename}) from {finish.public(releases[0].uri)}"
    return Bootstrapped(
        image_config(machine, date, source),
        f"Debian {version} ({wanted.codename}{', slim' if wanted.slim else ''})",
        len(unpacked),
        sum(package.contents.size for package in unpacked),
    )


class Report:
    """Progress of one bootstrap, told from any thread, in whole percent."""

    def __init__(self, reference: str, progress: Progress) -> None:
        self._reference = reference
        self._progress = progress
        self._lock = threading.Lock()
        self._total = self._done = 0
        self._percent = -1
        self._what = ""

    def say(self, status: str) -> None:
        with self._lock:
            self._total = 0
            self._progress(self._reference, status, None)

    def expect(self, packages: list[Package]) -> None:
        with self._lock:
            self._total = sum(package.size for package in packages)
            self._done, self._percent = 0, -1
            self._what = f"fetching and unpacking {len(packages)} packages"

    def received(self, size: int) -> None:
        with self._lock:
            if not self._total:
                return
            self._done += size
            percent = min(100, 100 * self._done // self._total)
            if percent != self._percent:
                self._percent = percent
                self._progress(self._reference, self._what, percent / 100)


def find_releases(
    fetcher: Fetcher, codename: str, mirrors: sources.Mirrors, options: Mapping[str, str]
) -> list[Release]:
    """The suites to take packages from: the release, its updates, its security updates; raises `ImageError`.

    Of several addresses the first that has the release is taken. Updates that the mirror does not have are
    left out; ones that it has but that cannot be verified are an error.
    """
    with ThreadPoolExecutor(3) as pool:
        security = pool.submit(_first, fetcher, mirrors.security, f"{codename}-security", options)
        found = [_first(fetcher, mirrors.archive, codename, options)]
        if found[0] is None:
            addresses = ", ".join(finish.public(location.uri) for location in mirrors.archive)
            raise ImageError(f"no mirror has debian {codename} (asked: {addresses})")
        used = [location for location in mirrors.archive if location.uri == found[0].uri]
        found += [_first(fetcher, tuple(used), f"{codename}-updates", options), security.result()]
    return [one for one in found if one]


def _first(
    fetcher: Fetcher, locations: tuple[sources.Location, ...], suite: str, options: Mapping[str, str]
) -> Release | None:
    failure: ImageError | None = None
    for location in locations:
        try:
            return release.fetch(fetcher, location, suite, options)
        except NotFoundError:
            continue
        except ImageError as error:
            failure = failure or error
    if failure:
        raise failure
    return None


def read_indexes(fetcher: Fetcher, releases: list[Release], machine: str) -> Pool:
    """Fetch, verify and read the package indexes of `releases`; raises `ImageError`."""

    def read(one: Release) -> Index:
        for compression in ("xz", "gz", ""):
            file = one.files.get(f"main/binary-{machine}/Packages.{compression}".rstrip("."))
            if file:
                content = fetcher.get(one.address(file), sha256=file.sha256, size=file.size)
                data = deb.uncompress(memoryview(content), compression, 1 << 30, f"the index of {one.suite}")
                return Index(data, one.uri)
        raise ImageError(f"{one.suite} has no packages for {machine}")

    with ThreadPoolExecutor(len(releases)) as pool:
        return Pool(pool.map(read, releases))


def choose_packages(fetcher: Fetcher, codename: str, releases: list[Release], machine: str) -> list[Package]:
    """The packages of a minimal system with apt, in the order of their configuration; raises `ImageError`.

    As debootstrap's variant minbase has it: what is essential or required, apt, and what they depend on.
    """
    pool = read_indexes(fetcher, releases, machine)
    seeds = [*pool.base(), "apt"]
    if codename == "bookworm":  # says that /usr is merged already, instead of the package that would merge it
        seeds.append("usr-is-merged")
    if any(one.uri.startswith("https:") for one in releases):
        seeds.append("ca-certificates")
    return configuration_order(resolve(pool, seeds, frozenset({"usrmerge"})))


def fetch_and_unpack(fetcher: Fetcher, tree: Tree, packages: list[Package], machine: str) -> list[Unpacked]:
    """All packages into the tree; the result is in the order of `packages`. Raises `ImageError`."""
    _merge_usr(tree, machine)
    with (
        ThreadPoolExecutor(_DOWNLOADS, "fetch") as downloads,
        ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 2)), "unpack") as unpacks,
    ):
        fetched: dict[str, Future[bytes]] = {}
        done: dict[str, Future[Unpacked]] = {}

        def unpack(package: Package) -> Unpacked:
            content = fetched.pop(package.name).result()
            name = f"{package.name}_{package.version}_{package.architecture}.deb"
            parts = deb.read(content, name)
            contents = tree.unpack(deb.data_archive(parts))
            return dpkg.unpacked(parts, contents, package)

        # the largest ones first, so that none is waited for alone in the end
        for package in sorted(packages, key=lambda one: -one.size):
            fetched[package.name] = downloads.submit(
                fetcher.get, package.address, sha256=package.sha256, size=package.size
            )
        for package in sorted(packages, key=lambda one: -one.size):
            done[package.name] = unpacks.submit(unpack, package)
        try:
            wait(done.values(), return_when=FIRST_EXCEPTION)
            failed = [one for one in done.values() if one.done() and one.exception()]
            if failed:
                failed[0].result()
        except BaseException:
            for pool in (downloads, unpacks):
                pool.shutdown(wait=False, cancel_futures=True)
            fetcher.stop()
            raise
        return [done[package.name].result() for package in packages]


def _merge_usr(tree: Tree, machine: str) -> None:
    """/bin and its like as links into /usr, before anything is unpacked: bookworm's packages still ship files
    in /bin and rely on it, trixie's bring the same links (debootstrap's merge_usr)."""
    tree.directory("/usr")
    for name in ("bin", "sbin", "lib", *_MERGED.get(machine, ())):
        tree.directory(f"/usr/{name}")
        tree.link(f"/{name}", f"usr/{name}")


def _prepare(tree: Tree) -> None:
    """What maintainer scripts find already there."""
    tree.write("/usr/sbin/policy-rc.d", POLICY, 0o755)
    tree.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")


def image_config(machine: str, date: int, source: str) -> dict[str, Any]:
    """The OCI image configuration (image specification, config.md), without `rootfs`."""
    created = datetime.fromtimestamp(date, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config: dict[str, Any] = {
        "architecture": _OCI_ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "created": created,
        "config": {"Env": [_PATH], "Cmd": ["bash"]},
        "history": [{"created": created, "created_by": f"pycompose bootstrap: {source}"}],
    }
    if machine == "armhf":
        config["variant"] = "v7"
    return config
