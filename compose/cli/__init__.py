"""The command line: arguments in, one call out, exit code.

main.py        global options, the table of commands, errors to exit codes
project.py     from the global options to a project, or to its name alone
NAME.py        one command: `add_arguments` and `run`; loaded only when it is asked for
"""
