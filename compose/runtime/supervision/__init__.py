"""The processes around containers: what starts them, watches them, and takes over when one of these dies.

keeper.py      one a project: forks monitors and netd (helpers.py), holds their descriptors
monitor/       one a container: its start, output, exit code, restarts, health
once.py        both in one, for a container that lives no longer than a call
spawn.py       how a command starts a keeper; asking.py: how it asks one
heir.py        netd without a keeper; revival.py: containers without any helper
orphans.py, leftovers.py, lost.py    what is left of helpers that were killed
bytecode.py    what the interpreter that they run on leaves out
complaints.py  what they have nobody to tell
isolation.py   the one door from here to compose.runtime.container
"""
