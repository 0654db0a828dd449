"""netd: the network process of a project.

process.py       its start, its descriptors, its end
nameserver.py    the name service of each container: messages (names.py), who is who (table.py), and questions
                 for others (resolvers.py)
forward.py       published TCP ports; udp.py: UDP ports
inside.py        sockets in other network namespaces
loop.py          epoll and timers
"""
