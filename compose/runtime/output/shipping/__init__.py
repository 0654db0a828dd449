"""Log drivers that send a container's output elsewhere: syslog, journald, fluentd, gelf.

Each is made from the raw log (output.py), never instead of it: the container does not wait for the other
side, `logs` keeps working, and what is still to send lies in files whose size is bounded by rotation. The
monitor loads a driver only when its container asks for one.

    shipper.py     reads the log on, hands lines to a driver and its packets to a transport
    transport.py   one socket that is never waited for, made again after it broke
    message.py     what every driver says of a container
    NAME.py        lines -> packets of one protocol
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.loop import Loop
    from compose.runtime.output.shipping.shipper import Shipper
    from compose.runtime.spec import ContainerSpec

DRIVERS = ("syslog", "journald", "fluentd", "gelf")


def make(loop: Loop, directory: str, spec: ContainerSpec) -> Shipper | None:
    """The shipper of a container's log, or None when its driver keeps it here."""
    logging: Any = spec.get("logging") or {}
    if logging.get("driver") not in DRIVERS:
        return None
    from compose.runtime.output.shipping.shipper import Shipper
    from compose.runtime.output.shipping.transport import Transport

    driver = __import__(f"compose.runtime.output.shipping.{logging['driver']}", fromlist=["Driver"])
    address = logging["address"]
    transport = Transport(
        address if isinstance(address, str) else (address[0], address[1]), stream=logging["stream"]
    )
    return Shipper(loop, directory, driver.Driver(spec, logging), transport)
