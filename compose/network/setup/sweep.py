"""Find and remove what has our names and no owner, from the kernel's objects alone.

What is ours is told by names and aliases (labels.py). A live uplink of another data directory has that
directory in its alias and is left alone. A table or rule whose interface is not there serves nobody.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from compose.errors import NetworkError
from compose.network import labels
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import NETFILTER, ROUTE, Netlink
from compose.network.kernel.pyroute import nftsocket
from compose.network.setup import containers, foreign, sandbox, uplink
from compose.network.setup.record import Record
from compose.network.types import SHARED, ContainerLinks, Leftover

if TYPE_CHECKING:
    from collections.abc import Collection

    from compose.network.setup.namespaces import Namespaces


def sweep(
    namespaces: Namespaces,
    *,
    live_containers: Collection[str],
    live_projects: Collection[str],
    live_networks: Collection[str] | None,
    remove: bool,
) -> tuple[list[Leftover], list[str]]:
    """The leftovers, and what went wrong when they were to be removed.

    `live_projects` are the sandboxes that have an owner; without `live_networks` no bridge is looked at.
    """
    found: list[Leftover] = []
    problems: list[str] = []
    for name in namespaces.names():
        kind, identity = name[:2], name[2:]
        if kind == "c-" and identity not in live_containers:
            found.append(Leftover("namespace", name, ""))
            if remove:
                problems += containers.remove(namespaces, SHARED, [ContainerLinks(identity, ())])
        elif kind == "p-" and identity not in live_projects:
            found.append(Leftover("namespace", name, ""))
            if remove:
                problems += uplink.destroy(namespaces, identity)
                problems += sandbox.remove(namespaces, identity)
        elif kind == "p-":
            found += _in_sandbox(
                namespaces, identity, live_containers, live_networks, problems, remove=remove
            )
    found += _on_host(namespaces, live_projects, problems, remove=remove)
    if remove:
        namespaces.finish()
    return found, problems


def _in_sandbox(
    namespaces: Namespaces,
    project: str,
    live_containers: Collection[str],
    live_networks: Collection[str] | None,
    problems: list[str],
    *,
    remove: bool,
) -> list[Leftover]:
    """Ports of containers and bridges of networks that nobody owns, in a sandbox that has an owner."""
    found: list[Leftover] = []
    path = namespaces.paths.project_namespace(project)
    try:
        with namespaces.inside(path, f"look into the sandbox of {project}"), Netlink(ROUTE) as netlink:
            for link in links.links(netlink):
                words = link.alias.split(" ")
                if words[0] != labels.PREFIX or len(words) < 3:
                    continue
                orphan = (
                    words[2] not in live_containers
                    if words[1] == "container"
                    else (
                        words[1] == "network" and live_networks is not None and words[2] not in live_networks
                    )
                )
                if orphan:
                    found.append(Leftover("interface", link.name, project))
            if remove:
                failures = netlink.attempt(links.delete_links([one.name for one in found]))
                problems += [str(failure) for failure in failures]
    except (NetworkError, OSError) as error:
        problems.append(str(error))
    return found


def _on_host(
    namespaces: Namespaces, live_projects: Collection[str], problems: list[str], *, remove: bool
) -> list[Leftover]:
    found: list[Leftover] = []
    ours = {uplink.alias_of(namespaces, project) for project in live_projects}
    expected = {uplink.name_of(namespaces, project) for project in live_projects}
    with Netlink(ROUTE) as netlink:
        uplinks = [link for link in links.links(netlink) if link.name.startswith(labels.UPLINK_PREFIX)]
        for link in uplinks:
            # without an alias: made, and killed before the alias was set
            mine = not link.alias or link.alias.endswith(f" {namespaces.paths.run}")
            if mine and link.alias not in ours and link.name not in expected:
                found.append(Leftover("interface", link.name, ""))
                if remove:
                    problems += [str(failure) for failure in netlink.attempt([links.delete_link(link.name)])]
    gone = {one.name for one in found}
    present = {link.name for link in uplinks} - gone | expected
    with Netlink(NETFILTER) as netlink:
        for rule in foreign.rules_of_ours(netlink):
            if rule.interface not in present:
                found.append(Leftover("rule", f"{rule.chain} {rule.direction} {rule.interface}", ""))
                if remove:
                    problems += foreign.delete(netlink, rule)
        for table in netlink.dump(nft.dump_tables(), nftsocket.nft_table_msg):
            name = table.get_attr("NFTA_TABLE_NAME")
            if name.startswith(labels.UPLINK_PREFIX) and name not in present:
                found.append(Leftover("table", name, ""))
                if remove:
                    failures = netlink.transaction([nft.delete_table(table["nfgen_family"], name)])
                    problems += [str(failure) for failure in failures if failure.number != errno.ENOENT]
    return found


def forget(namespaces: Namespaces, live_projects: Collection[str]) -> list[str]:
    """Take projects without an owner out of the uplinks' record, and undo what only they needed."""
    record = Record(namespaces)
    problems: list[str] = []
    for project in [name for name in record.projects if name not in live_projects]:
        problems += uplink.destroy(namespaces, project)
    if not record.projects and record.former:  # the last one went, and was killed before it had undone it all
        problems += record.restore()
        record.save()
    with contextlib.suppress(OSError):
        os.rmdir(namespaces.directory)
    return problems
