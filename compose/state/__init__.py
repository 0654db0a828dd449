"""What is written down: where things lie, the index, locks, and files that are replaced whole."""
