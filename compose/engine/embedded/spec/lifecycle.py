"""Health check, restart policy and stop of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from compose.errors import ContainerError
from compose.model.values import duration
from compose.runtime.supervision.monitor.stop import signal_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from compose.runtime.spec import Healthcheck, RestartPolicy

_NANOSECONDS = 1e9
_SHORTEST = 0.001
"""Seconds; Docker's too."""


def healthcheck(service: Mapping[str, Any], image: Mapping[str, Any]) -> Healthcheck | None:
    """The service's check, each missing field from the image's; None where there is none or it is disabled.

    Defaults are Docker's: every 30 s, 30 s to answer, 3 retries, no start period, 5 s within one.
    """
    own = service.get("healthcheck") or {}
    if own.get("disable"):
        return None
    of_image = image.get("Healthcheck") or {}
    test = own.get("test") or of_image.get("Test") or []
    if not test or test[0] == "NONE":
        return None
    if test[0] not in ("CMD", "CMD-SHELL") or not test[1:]:
        raise ContainerError(
            f"healthcheck.test: {test} is no check", hint='write ["CMD", "program", "argument", ...]'
        )

    def seconds(key: str, image_key: str, default: float) -> float:
        if found := duration(own.get(key) or "0s"):
            if found < _SHORTEST:
                raise ContainerError(
                    f"healthcheck.{key}: {own[key]} is less than 1ms", hint="write 1s, or remove it"
                )
            return found
        return (of_image.get(image_key) or 0) / _NANOSECONDS or default

    return {
        "test": [str(word) for word in test],
        "interval": seconds("interval", "Interval", 30.0),
        "timeout": seconds("timeout", "Timeout", 30.0),
        "retries": int(own.get("retries") or of_image.get("Retries") or 3),
        "start_period": seconds("start_period", "StartPeriod", 0.0),
        "start_interval": seconds("start_interval", "StartInterval", 5.0),
    }


_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_CONDITIONS = {"none": "no", "any": "always"}
"""The specification's words; docker compose takes those of `restart` as well."""


def restart_policy(service: Mapping[str, Any]) -> RestartPolicy:
    """``deploy.restart_policy`` wins over ``restart``, as with docker compose."""
    deploy = (service.get("deploy") or {}).get("restart_policy")
    if deploy is not None:
        return _deployed_policy(deploy)
    name, _, attempts_text = str(service.get("restart") or "no").partition(":")
    if name not in _POLICIES:
        raise ContainerError(f"restart: {name} is none of no, always, on-failure[:N], unless-stopped")
    return {
        "name": cast("Literal['no', 'always', 'on-failure', 'unless-stopped']", name),
        "max_attempts": int(attempts_text or 0),
    }


def _deployed_policy(deploy: Mapping[str, Any]) -> RestartPolicy:
    condition = str(deploy.get("condition") or "any")
    name = _CONDITIONS.get(condition, condition)
    if name not in _POLICIES:
        raise ContainerError(
            f"deploy.restart_policy.condition: {condition} is none", hint="write any, on-failure or none"
        )
    found: RestartPolicy = {
        "name": cast("Any", name),
        "max_attempts": int(deploy.get("max_attempts") or 0),
    }
    if deploy.get("delay") is not None:
        found["delay"] = duration(deploy["delay"])
    if deploy.get("window") is not None:
        found["window"] = duration(deploy["window"])
    return found


def restarts_unhealthy(service: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a container that turns unhealthy is started again: ``x-restart-on-unhealthy: true``, or the
    label ``autoheal=true`` that is in use for that."""
    own = service.get("x-restart-on-unhealthy")
    if own is not None:
        if not isinstance(own, bool):
            raise ContainerError(f"x-restart-on-unhealthy: {own!r} is neither true nor false")
        return own
    return str(labels.get("autoheal", "")).lower() == "true"


def stop_signal(service: Mapping[str, Any], image: Mapping[str, Any]) -> str:
    """The service's, the image's or SIGTERM; one that does not exist is an error before anything runs."""
    name = str(service.get("stop_signal") or image.get("StopSignal") or "SIGTERM")
    signal_number(name)
    return name


def grace_period(service: Mapping[str, Any]) -> float:
    """Seconds between the stop signal and the end; 10 unless the service says otherwise."""
    value = service.get("stop_grace_period")
    seconds = 10.0 if value is None else duration(value)
    if seconds < 0:
        raise ContainerError(f"stop_grace_period: {value} is less than 0", hint="write 0s or more")
    return seconds
