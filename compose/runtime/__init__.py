"""One container: namespaces, mounts, cgroups, capabilities, seccomp, keeper, monitor, exec.

Speaks the vocabulary of the OCI runtime specification and knows no compose file.

    client.py     what the rest of the program uses: Keeper, start, stop, exec
    spec.py       spec.json and state.json, the two files that describe a container
    keeper.py     one a project: forks monitors and netd, holds their descriptors
    monitor.py    one a container: output, exit code, restart policy, health, exec
    launch.py     forks process 1 into its namespaces; the steps are in the modules it calls
"""
