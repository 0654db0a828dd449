"""One container: namespaces, mounts, cgroups, capabilities, seccomp, keeper, monitor, exec.

Speaks the vocabulary of the OCI runtime specification and knows no compose file.

    client.py      what the rest of the program uses: Keeper, start, stop, exec
    spec.py        spec.json and state.json, the two files that describe a container
    supervision/   the processes around containers: keeper, monitor, health, restarts
    container/     what puts a process into a container: namespaces, mounts, capabilities, seccomp
    output/        what containers write, and who reads it
    cgroups/       control groups, version 1 and 2
"""
