"""The engine: carries out the actions of a plan, and says what is there.

protocol.py   what an engine is; the one seam between plans and the outside world
embedded/     the default: our own runtime, images, networks and volumes
"""
