"""Tests as root, with real namespaces, mounts and processes."""
