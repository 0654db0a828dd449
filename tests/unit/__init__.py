"""Pure tests: no privileges, no network."""
