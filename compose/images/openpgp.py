"""OpenPGP signatures, by Sequoia (`pysequoia`): certificates from files, and texts signed in the clear.

Sequoia's standard policy applies: revoked and expired keys, SHA-1 and other broken algorithms do not count.
`pysequoia` is loaded at the first call only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pysequoia import Cert


class Verified(NamedTuple):
    """What a signature vouches for."""

    content: bytes
    """The signed text alone: what stood before, between and behind the signed part is not in it."""
    signers: tuple[str, ...]
    """Fingerprints of the certificates whose signature is good, in lower-case hex."""


def certificates(data: bytes, name: str) -> list[Cert]:
    """All certificates in a key ring, binary or armoured; `name` is for the message of an `ImageError`."""
    from pysequoia import Cert

    try:
        return list(Cert.split_bytes(data))
    except Exception as error:  # the library raises RuntimeError and ValueError alike
        raise ImageError(f"{name} is not an OpenPGP key ring: {_first_line(error)}") from error


def verify_clear_signed(data: bytes, trusted: Iterable[Cert], name: str) -> Verified:
    """Check a clear-signed text (RFC 9580, 7) against the certificates `trusted`.

    One good signature of a trusted certificate is enough, as for apt: releases are signed by the keys of
    several years, and a host knows some of them. Raises `ImageError` that begins with `name`.
    """
    from pysequoia import verify

    known = list(trusted)
    wanted: list[str] = []

    def store(identities: list[str]) -> list[Cert]:
        wanted.extend(identities)
        return known

    try:
        found = verify(bytes=data, store=store)
    except Exception as error:
        if not wanted:
            raise ImageError(f"{name} is not signed: {_first_line(error)}") from error
        keys = ", ".join(identity[-16:].upper() for identity in wanted)
        raise ImageError(f"{name} has no good signature of a trusted key (it is signed by {keys})") from error
    if found.bytes is None or not found.valid_sigs:
        raise ImageError(f"{name} is not signed")
    return Verified(bytes(found.bytes), tuple(str(signature.certificate) for signature in found.valid_sigs))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
