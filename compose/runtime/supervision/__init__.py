"""The processes around containers: what starts them, watches them, and takes over when one of these dies.

keeper.py      one a project: forks monitors and netd, holds their descriptors
monitor.py     one a container, with a module a part: output, exit code, restart policy, health
once.py        both in one, for a container that lives no longer than a call
isolation.py   the one door from here to compose.runtime.container
"""
