"""Building images from Dockerfiles.

    request = BuildRequest(context="/srv/app", tags=["app"])
    image = build(request, store, progress)

    parser        text -> instructions (words: quotes and variables)
    instructions  one class an instruction that only changes the configuration; files, run, copy: the others
    context       what may be copied from: the build context (.dockerignore), a stage, an image
    cache         what was built before
    builder       stages, in which all of it is put together

`RUN` steps share the host's network namespace, resolv.conf and hosts (as ``docker build --network=host``
does) and run isolated in every other respect, like any container.
"""

from __future__ import annotations

from compose.images.build.builder import build
from compose.images.build.state import BuildRequest

__all__ = ["BuildRequest", "build"]
