"""Scenarios on the command line; the title of each is an obligation."""
