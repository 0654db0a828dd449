"""Maintainer scripts: every preinst, then ``dpkg --configure`` in the order that `resolve` found.

The files are all there before the first script runs, as in the first stage of debootstrap; base packages
must work like that (Debian Policy 3.8). `run_in_root` is the one place that starts anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images.bootstrap.dpkg import FOLDER

if TYPE_CHECKING:
    from compose.images.bootstrap.dpkg import Unpacked
    from compose.images.bootstrap.tree import Tree

POLICY = b"#!/bin/sh\nexit 101\n"
"""No service is started while packages are configured (invoke-rc.d, "action forbidden by policy")."""

_START = """import sys; sys.path[:0] = [sys.argv[1]]
from compose.images.bootstrap.isolate import main
sys.exit(main(sys.argv[2:]))"""

_STAGE = f"{FOLDER}/preinst.d"
_PREINST = f"""export DPKG_MAINTSCRIPT_PACKAGE=%(name)s DPKG_MAINTSCRIPT_ARCH=%(architecture)s
ln -sfn {_STAGE}/%(name)s {FOLDER}/tmp.ci
{FOLDER}/tmp.ci/preinst install || {{ echo "preinst of %(name)s failed: $?" >&2; exit 1; }}"""


def configure(tree: Tree, packages: list[Unpacked], *, date: int) -> None:
    """Configure unpacked packages, given in their order; raises `ImageError`. `date`: SOURCE_DATE_EPOCH."""
    version = next((_version(package) for package in packages if package.name == "dpkg"), "")
    script = [
        "set -e",
        f"export DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_DEBUG=0 DPKG_RUNNING_VERSION={version}",
        f"export DPKG_ADMINDIR={FOLDER} DPKG_ROOT=",
    ]
    for package in packages:
        if "preinst" in package.control:
            _stage(tree, package)
            script.append(_PREINST % {"name": package.name, "architecture": package.architecture})
    script.append(f"rm -rf {FOLDER}/tmp.ci {_STAGE}")
    script.append("unset DPKG_MAINTSCRIPT_NAME DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH DPKG_ADMINDIR")
    names = " ".join(package.name for package in packages)
    script.append(f"dpkg --force-unsafe-io --force-confold --configure {names}")
    script.append('found=$(dpkg --audit); [ -z "$found" ] || { echo "$found" >&2; exit 1; }')
    run_in_root(tree.path, "\n".join(script), "configure the packages", date=date)


def _stage(tree: Tree, package: Unpacked) -> None:
    """The control files, where a preinst and debconf look for them while dpkg unpacks (tmp.ci)."""
    tree.directory(_STAGE)
    tree.directory(f"{_STAGE}/{package.name}")
    for name, (mode, content) in package.control.items():
        tree.write(f"{_STAGE}/{package.name}/{name}", content, mode)


def _version(package: Unpacked) -> str:
    lines = package.control["control"][1].decode("utf-8", "replace").splitlines()
    return next((line[9:].strip() for line in lines if line.startswith("Version: ")), "")


def run_in_root(root: str, script: str, what: str, *, date: int) -> str:
    """Run a shell script in the root file system `root`, isolated; its output. Raises `ImageError`."""
    import compose

    library = os.path.dirname(os.path.dirname(os.path.abspath(compose.__file__)))
    environment = {"SOURCE_DATE_EPOCH": str(date)}
    if "LD_LIBRARY_PATH" in os.environ:  # the interpreter's own, where it is not in a standard place
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _START, library, os.path.abspath(root), script],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, check=False,
    )  # fmt: skip
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise ImageError(f"{what}: {_essence(output) or f'exit code {done.returncode}'}")
    return output


def _essence(output: str) -> str:
    """The lines that tell why, as one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search("error|failed|isolate:", line, re.I)]
    return "; ".join((telling or lines)[:3])[:500]
