"""The embedded engine: the actions of a plan, carried out by our own runtime, images, networks and volumes.

engine.py       which action is done by which of the modules below; context.py is what all of them hold
observe.py      what is there, of which a plan is made
reserve.py      what is written down, and taken, before anything is made
creation.py     a container is made, from spec/, files.py, sources.py, sharing.py, devices.py
lifecycle.py    it is started and stopped, with hooks/ and ports.py; waiting.py and readiness.py wait for it
removal.py      and removed
networks/       bridges, addresses, names
volumes.py      directories that outlive containers
transfer.py     files in and out of a container; whole.py: all of them
recorded.py     a project without its files; revive.py: one without its helpers
"""
