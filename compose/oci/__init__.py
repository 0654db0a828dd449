"""An OCI runtime (specification 1.2) over `compose.runtime`: what podman, conmon and others drive.

    main.py         one function an operation, and how errors are told
    bundle.py       config.json -> a ContainerSpec, or an error that names the key
    container.py    the directory of a container: state.json, its lock, its status
    create.py       create, start and exec

There is no keeper and no monitor: the container keeps the descriptors of whoever calls ``create``, and is the
child of that one's subreaper.
"""
