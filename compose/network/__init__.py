"""Namespaces, addresses, names and published ports of projects."""
