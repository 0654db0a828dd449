"""unit/ needs no privileges, system/ is root in real namespaces, e2e/ is the command line."""
