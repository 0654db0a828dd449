"""Limits of this process itself, setrlimit(2)."""

import resource


def raise_descriptor_limit() -> None:
    """Allow this process, and those that it starts, as many open files as the hard limit does."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
