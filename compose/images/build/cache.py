"""What was built before: one record a step, below ``images/cache``.

The key of a step is the digest of everything that its result depends on: the layers below it, the whole
configuration that it starts from (Env, User, WorkingDir, Shell, Labels, ...), the instruction with its
variables replaced, the build arguments in force, and the content that it reads. Records are made by local
builds alone and never taken from an image's history, so that a foreign image cannot claim to be the result
of a step (CVE-2024-24557). A record whose layer is gone counts for nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.state.files import read_json, replace_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.images.store import ImageStore

_VERSION = 1


class Record(NamedTuple):
    """The result of a step."""

    layer: str | None
    """Diff id; None if the step changed no file."""
    created: str
    """RFC 3339."""


def key(*, layers: Sequence[str], config: dict[str, Any], platform: str, step: Sequence[object]) -> str:
    """The key of a step; `layers` are diff ids, lowest first."""
    value = [_VERSION, platform, list(layers), config, list(step)]
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find(store: ImageStore, step_key: str) -> Record | None:
    """The record of this key; None if there is none, or a damaged one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = read_json(f"{store.root}/cache/{step_key}.json")
        layer, created = found["layer"], found["created"]
        if isinstance(created, str) and (layer is None or isinstance(layer, str)):
            return Record(layer, created)
    return None


def save(store: ImageStore, step_key: str, record: Record) -> None:
    """Remember the result of a step; a power cut may lose it."""
    replace_json(f"{store.root}/cache/{step_key}.json", record._asdict(), durable=False)
