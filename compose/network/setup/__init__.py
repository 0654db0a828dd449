"""Networks, made and removed: a process that a command forks while nothing heavy is imported.

client.py       forks it, and asks it
server.py       the operations, by name
namespaces.py   network namespaces under names
sandbox.py      a project's own: bridges, and the rules between them
containers.py   those of containers, joined to bridges
uplink.py       the way out of a sandbox; uplink6.py for IPv6, masquerade.py its rules
foreign.py      firewalls of others
record.py       what was changed on the host
sweep.py        what has our names and no owner
"""
