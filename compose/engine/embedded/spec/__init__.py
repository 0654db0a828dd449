"""A service and its image -> ``spec.json``. Pure: no file is read, no name looked up.

process.py     what runs, as whom, with which environment
mounts.py      volumes, tmpfs, configs and secrets, the files that we keep for it
resources.py   limits of the control group, ulimits
lifecycle.py   health check, restart policy, logging, stop
sysctls.py     those that are a container's own
build.py       all of it together
"""
