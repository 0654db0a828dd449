"""Namespaces, addresses, names and published ports of projects.

setup/         makes and removes networks: a process that commands fork
netd/          what runs as long as containers do: their names, and what comes in by their ports
kernel/        what both halves of setup/ say to the kernel: netlink messages
addresses.py   who gets which address
listeners.py   the host's side of published ports, bound by commands
"""
