"""A step's cache key: whatever the result depends on is in it (CVE-2024-24557)."""

from __future__ import annotations

from typing import Any

from compose.images.build import cache

CONFIG: dict[str, Any] = {
    "Env": ["A=1"],
    "User": "app",
    "WorkingDir": "/w",
    "Cmd": ["x"],
    "Labels": {"a": "b"},
}


def key(
    layers: tuple[str, ...] = ("sha256:1", "sha256:2"),
    config: dict[str, Any] = CONFIG,
    platform: str = "linux/amd64",
    step: tuple[object, ...] = ("RUN", ["sh", "-c", "x"], {"ARG": "1"}),
) -> str:
    return cache.key(layers=layers, config=config, platform=platform, step=step)


def test_the_same_input_gives_the_same_key() -> None:
    assert key() == key(config=dict(reversed(CONFIG.items())))


def test_everything_counts() -> None:
    others = [
        key(layers=("sha256:2", "sha256:1")),
        key(layers=()),
        key(layers=("sha256:1",)),
        key(platform="linux/arm64"),
        key(step=("RUN", ["sh", "-c", "x"], {"ARG": "2"})),
        key(step=("RUN", ["sh", "-c x"], {"ARG": "1"})),
        *[key(config={name: value for name, value in CONFIG.items() if name != left}) for left in CONFIG],
        key(config={**CONFIG, "Healthcheck": {"Test": ["NONE"]}}),
        key(config={**CONFIG, "Volumes": {"/v": {}}}),
    ]
    assert len({key(), *others}) == len(others) + 1
