"""A process in a container: what is set up before its program runs, and what is read or changed from outside.

launch.py      process 1: in which pid namespace it is born
setup.py       what it does there until its program runs; the steps are in the modules it calls
enter.py       every other process that is put into a running container
child.py       what the creator of both does: fork, and listen until the program runs
nursery.py     one that is born there again and again
hardening.py   the last steps of both: capabilities, seccomp, security modules
birth.py       the waiting of those who create them, also where somebody in there holds the process up
steps.py       what a process says of its own setup, and the words for it
rootfs.py      its root file system
mounts/        where its mounts come from, and how they are attached
users.py       who it runs as
oci.py         the OCI configuration that setup.py works from
"""
