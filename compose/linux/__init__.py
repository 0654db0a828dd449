"""Thin wrappers around Linux system calls, under their C names: the man page is the documentation.

Modules here know nothing of containers, raise `OSError` with the call and its object in the message, and
import nothing heavier than `ctypes`: they are loaded into every helper process.
"""
