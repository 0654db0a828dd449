"""The monitor: one process a container, from its start until it has ended for good.

monitor.py       the process: what it holds, and the turns of a container's life; the parts act for it
account.py       what it writes down of them
link.py          its channel to the keeper
control.py       what clients ask of it; sessions.py: the processes that they put into the container
door.py          putting processes into the container without waiting for them
health.py        the rules of health checks; probe.py runs them, checkup.py writes them down
repeated.py      a probe on its way into the container
restart.py       the rules of restarts; restarter.py starts again
stop.py          a stop signal and its grace period; ending.py says why a run is ended, exits.py how it did
group.py         the control group; memory.py: who was killed for want of memory
follow.py        mounted files that follow those of the host
hook_runner.py   hooks of the host around a run
takeover.py      taking over from a monitor that died; reopening.py: with ports and name sockets
"""
