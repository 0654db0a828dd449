"""Warnings of what a file asks for and nothing acts on: by the tables of `support`, and by rules that look
around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model.passes import Pass
from compose.model.support import (
    ANY_LOG,
    ENDPOINT_OPTIONS,
    LOG_OPTIONS,
    MOUNT_TYPES,
    NOT_YET,
    PARTLY,
    words,
)
from compose.model.tree import Context, Map, Position, dotted
from compose.model.values import dropped_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rule = Callable[[Any, Context, Map], Iterator[tuple[Position, str]]]
    """From a value, where it stands, and the whole tree: where something is not acted on, and why."""

_HELD_ANYWAY = {
    "mode": ("non-blocking",),
    "fluentd-async": ("true", "True", "1"),
    "fluentd-async-connect": ("true", "True", "1"),
}
"""Options that ask for what is done without them, as long as they have one of these values."""
_OWNER = {"uid", "gid", "mode"}


def warn_of_unsupported(tree: Map, warn: Callable[[Position, str], None]) -> None:
    """Call `warn` for everything in the tree that nothing acts on."""

    def acting(rule: Rule) -> Callable[[Any, Context], Any]:
        def function(value: Any, context: Context) -> Any:
            for at, text in rule(value, context, tree):
                warn(at, text)
            return value

        return function

    Pass({pattern: acting(rule) for pattern, rule in _RULES.items()}).apply(tree)


def _ignored(context: Context, why: str) -> tuple[Position, str]:
    return context.key_at, f"{dotted(context.path)}: not supported yet, ignored: {why}"


def _never(reason: str) -> Rule:
    def rule(value: Any, context: Context, _tree: Map) -> Iterator[tuple[Position, str]]:
        if value not in (None, False, "", {}, []):
            yield _ignored(context, reason)

    return rule


def _sometimes(judge: Callable[[Any], str | None]) -> Rule:
    def rule(value: Any, context: Context, _tree: Map) -> Iterator[tuple[Position, str]]:
        reason = judge(value)
        if reason is not None:
            text = f"{dotted(context.path)}: `{value}` is not supported yet, ignored: {reason}"
            yield context.key_at, text

    return rule


def _command(value: Any, context: Context, _tree: Map) -> Iterator[tuple[Position, str]]:
    """Words behind what only a shell would understand."""
    try:
        rest = dropped_command(value) if isinstance(value, str) else ""
    except ValueError:  # it is refused elsewhere
        return
    if rest:
        text = f"{dotted(context.path)}: `{rest}` is left out: no shell runs this, as in docker compose"
        yield context.key_at, f'{text}; write ["sh", "-c", "..."]'


def _endpoint_option(_value: Any, context: Context, _tree: Map) -> Iterator[tuple[Position, str]]:
    if context.path[-1] not in ENDPOINT_OPTIONS:
        yield _ignored(context, f"there are {words(sorted(ENDPOINT_OPTIONS))}")


def _log_option(value: Any, context: Context, tree: Map) -> Iterator[tuple[Position, str]]:
    """An option that the service's log driver does not have."""
    section = ((tree.get("services") or {}).get(str(context.path[1])) or {}).get("logging") or {}
    known = LOG_OPTIONS.get(str(section.get("driver") or ""), ANY_LOG)
    option = str(context.path[-1])
    if option not in known and str(value) not in _HELD_ANYWAY.get(option, ()):
        yield _ignored(context, f"there are {words(sorted(known))}" if known else "nothing is logged")


def _storage_option(_value: Any, context: Context, _tree: Map) -> Iterator[tuple[Position, str]]:
    if context.path[-1] != "size":
        yield _ignored(context, "there is size")


def _owner_of_file(value: Any, context: Context, tree: Map) -> Iterator[tuple[Position, str]]:
    """A config or secret that is a file of the host shows that file, with its owner and mode."""
    if not isinstance(value, dict) or not _OWNER & value.keys():
        return
    definition = (tree.get(str(context.path[2])) or {}).get(value.get("source"))
    if isinstance(definition, dict) and definition.get("file"):
        keys = " and ".join(sorted(_OWNER & value.keys()))
        why = f"{keys} ignored: the file's own are seen, as in docker compose"
        yield context.at, f"{dotted(context.path)}: {why}"


def _mount(value: Any, context: Context, _tree: Map) -> Iterator[tuple[Position, str]]:
    """Options of another type of mount than the one that it is."""
    if not isinstance(value, Map):
        return
    kind = value.get("type")
    for key in MOUNT_TYPES:
        if value.get(key) and key != kind:
            text = f"{dotted((*context.path, key))}: ignored: it is a mount of type {kind}"
            yield value.where(key)[0], text
    if kind == "tmpfs" and value.get("source"):
        text = f"{dotted((*context.path, 'source'))}: ignored: a tmpfs has none"
        yield value.where("source")[0], text


_RULES: dict[str, Rule] = {
    **{pattern: _never(reason) for pattern, reason in NOT_YET.items()},
    **{pattern: _sometimes(partly.judge) for pattern, partly in PARTLY.items()},
    "services.*.command": _command,
    "services.*.entrypoint": _command,
    "services.*.volumes.*": _mount,
    "services.*.storage_opt.*": _storage_option,
    "services.*.logging.options.*": _log_option,
    "services.*.networks.*.driver_opts.*": _endpoint_option,
    "services.*.configs.*": _owner_of_file,
    "services.*.secrets.*": _owner_of_file,
}
