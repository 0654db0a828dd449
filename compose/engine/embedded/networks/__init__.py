"""Networks of a project: subnets and addresses from the index, bridges and links from the set-up process.

reserving    what is written down beforehand
telling      what the name services know
given        what a container gets
making       bridges and links
sandbox      the end of all of it
"""

from __future__ import annotations

from .given import endpoints, gateway
from .making import begin, connect, connect_again, create, disconnect, is_pinned, is_whole, remove
from .reserving import reserve, reserve_addresses, retire, slot_of
from .sandbox import leave_sandbox, remove_sandbox
from .telling import tell_all, tell_name_services, told, write_names

__all__ = [
    "begin",
    "connect",
    "connect_again",
    "create",
    "disconnect",
    "endpoints",
    "gateway",
    "is_pinned",
    "is_whole",
    "leave_sandbox",
    "remove",
    "remove_sandbox",
    "reserve",
    "reserve_addresses",
    "retire",
    "slot_of",
    "tell_all",
    "tell_name_services",
    "told",
    "write_names",
]
