"""What containers write: into files, out of them, to whoever is attached, and to other programs.

streams.py     FIFOs, terminal and standard input of a container
segments.py    from FIFOs to files, without a copy
logs.py        lines, with their time and stream
shipping/      to syslog, journald, fluentd and GELF
"""
