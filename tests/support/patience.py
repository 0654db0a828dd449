"""How long tests wait for an event before they say that it does not come.

Generous, because it costs nothing where the event comes: an emulated machine is twenty times slower than a
real one, and no test is about time.
"""

from __future__ import annotations

MOMENT = 300.0
"""Seconds for an event that comes at once on a quick machine: a line, the end of a process, an answer."""

COMMAND = 900.0
"""Seconds for a command that downloads nothing."""

LONG = 3600.0
"""Seconds for a command that downloads and installs packages."""
