"""Config documents of images that somebody else made."""

from __future__ import annotations

from typing import Any

import pytest

from compose.errors import ImageError
from compose.images.settings import check


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {"Cmd": None, "Env": None, "Volumes": None, "Labels": None, "Healthcheck": None, "User": None},
        {"Cmd": ["a"], "Env": ["A"], "Volumes": {"/x": {}}, "Labels": {"a": ""}, "StopSignal": "TERM"},
        {"Healthcheck": {"Test": ["NONE"], "Interval": 0, "Retries": 3}, "ArgsEscaped": True},
    ],
)
def test_what_images_have(config: Any) -> None:
    check({"config": config, "rootfs": {}}, "some")


@pytest.mark.parametrize(
    "config",
    [
        [],
        "sh",
        {"Cmd": "sh"},
        {"Cmd": [1]},
        {"Cmd": ["a\0b"]},
        {"Entrypoint": {"a": 1}},
        {"Env": {"A": "b"}},
        {"Env": "A=b"},
        {"User": 0},
        {"WorkingDir": ["/"]},
        {"StopSignal": 9},
        {"Volumes": ["/x"]},
        {"Labels": ["a=b"]},
        {"Labels": {"a": 1}},
        {"Healthcheck": "CMD true"},
        {"Healthcheck": {"Test": "CMD true"}},
        {"Healthcheck": {"Interval": "5s"}},
        {"Healthcheck": {"Retries": -1}},
        {"Healthcheck": {"Timeout": 2**63}},
        {"Healthcheck": {"Timeout": True}},
    ],
)
def test_what_nobody_should_act_on(config: Any) -> None:
    with pytest.raises(ImageError, match="the image some is damaged"):
        check({"config": config}, "some")


def test_a_document_that_is_none() -> None:
    with pytest.raises(ImageError):
        check([1], "some")
