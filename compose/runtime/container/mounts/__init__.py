"""The mounts of a container, made from its OCI configuration.

In two parts, because sources are the host's business and targets the container's:

    sources.py   in the host's mount namespace: every bind source becomes a detached clone of its mount,
                 looked up once; it keeps its peer group, so that shared propagation works
    attach.py    in the container's: file systems are made, sources are given their options (options.py) while
                 detached, and each is moved onto a target found below the root's descriptor

Mounts are attached in the order of their depth, so that one never hides another.

images.py        the files of another image as a source
devices.py       /dev, and device nodes
masks.py         what covers paths that a container may not see or change
swap.py          another file at the place of a mounted one, in a container that runs
"""
