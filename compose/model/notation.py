"""How values are written in the canonical form: a function a type, each a step of a pass (passes.py).

Names with ``pointer`` stand for what docker compose leaves out only where it is not given; all others leave
out what equals the default of its type as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model import values
from compose.model.passes import DROP
from compose.model.short import string_to_list
from compose.model.tree import Context, Map, Seq

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[[Any, Context], Any]

NOT_NEGATIVE = "write 0 or more"


def _checked(convert: Callable[[Any], Any], *, drop: tuple[Any, ...] = ()) -> Function:
    """A converter whose ValueError becomes an error with its place; results in `drop` are left out."""

    def function(value: Any, context: Context) -> Any:
        if value is None:
            return DROP
        try:
            result = convert(value)
        except ValueError as problem:
            raise context.refusal(problem) from None
        return DROP if any(result == one and type(result) is type(one) for one in drop) else result

    return function


def _text(value: Any) -> str:
    return values.go_text(value)


def _boolean(value: Any) -> bool:
    return values.boolean(value) if isinstance(value, str) else bool(value)


def _integer(value: Any) -> int:
    if isinstance(value, str):
        return values.integer(value)
    return values.whole(value)


def _count(value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise values.WrongValue(f"{number} is less than 0", NOT_NEGATIVE)
    return number


def _weight(value: Any) -> int:
    if isinstance(value, str):
        raise values.WrongValue(f"`{value}` is a string, but a weight is a number", "write it without quotes")
    if value > 1000:
        raise values.WrongValue(
            f"{value} is more than 1000, the greatest weight", "write a number from 10 to 1000"
        )
    return _count(value)


def _number(value: Any) -> int | float:
    number = values.number(value) if isinstance(value, str) else value
    if number != number or number in (float("inf"), float("-inf")):
        raise values.WrongValue(
            f"`{values.go_text(number)}` is not a number that can be used here", "write a number, such as 0.5"
        )
    return values.float32(number)


def _size(value: Any) -> str:
    return str(values.byte_size(value))


def _duration(value: Any) -> str:
    return values.duration_text(values.nanoseconds(str(value)))


def _mode(value: Any) -> str:
    """A file's mode: ``0440`` is octal in YAML; a string is read as octal."""
    try:
        if isinstance(value, float):
            raise ValueError
        number = int(value, 8) if isinstance(value, str) else int(value)
    except ValueError:
        raise values.WrongValue(f"`{value}` is not a mode", "write an octal number, such as 0440") from None
    return f"0{number:o}"


def _tmpfs_mode(value: Any) -> int:
    if isinstance(value, str):
        raise values.WrongValue(
            f"`{value}` is a string, but a mode is a number", "write it without quotes, such as 0700"
        )
    return _count(value)


def _device_count(value: Any) -> int:
    if isinstance(value, str) and value.lower() == "all":
        return -1
    try:
        return _integer(value)
    except ValueError:
        raise values.WrongValue(f"`{value}` is not a count", "write a number, or all") from None


text = _checked(_text, drop=("",))
flag = _checked(_boolean, drop=(False,))
pointer_flag = _checked(_boolean)
integer = _checked(_integer, drop=(0,))
pointer_integer = _checked(_integer)
pointer_count = _checked(_count)
number = _checked(_number, drop=(0,))
size = _checked(_size, drop=("0",))
pointer_duration = _checked(_duration)
duration = _checked(_duration, drop=("0s",))
mode = _checked(_mode)
device_count = _checked(_device_count, drop=(0,))
port = _checked(_count, drop=(0,))
weight = _checked(_weight, drop=(0,))
device_weight = _checked(_weight)
pointer_size = _checked(_size)
tmpfs_mode = _checked(_tmpfs_mode, drop=(0,))


def command(value: Any, context: Context) -> Any:
    """A string is split into words, as a shell would; no shell runs it."""
    if isinstance(value, str):
        try:
            return Seq(context.at, values.split_command(value))
        except ValueError as problem:
            raise context.refusal(problem) from None
    return value


def healthcheck_test(value: Any, context: Context) -> Any:
    """A string is a shell command: ``CMD-SHELL``."""
    if isinstance(value, str):
        return Seq(context.at, ["CMD-SHELL", value])
    return value if value else DROP


def non_empty(value: Any, context: Context) -> Any:
    """Leave out what holds nothing."""
    return value if value or value == 0 and value is not False else DROP


def texts_or_one(value: Any, context: Context) -> Any:
    """A string stands for a list of one."""
    return string_to_list(value, context) or DROP


def non_null(value: Any, context: Context) -> Any:
    """Leave out what is null."""
    return DROP if value is None else value


def texts(value: Any, context: Context) -> Any:
    """A list of strings or numbers -> a list of strings."""
    if isinstance(value, Seq):
        for index, (item, at) in enumerate(value.entries()):
            if isinstance(item, float):
                raise context.within(index, at).error(f"`{item}` is not a whole number", "write it in quotes")
            value[index] = values.go_text(item)
    return value if value else DROP


def _to_map(missing: str | None) -> Function:
    """KEY=VALUE lists and mappings -> a mapping of strings; `missing` stands for what has no value."""

    def function(value: Any, context: Context) -> Any:
        result = Map(context.at)
        if isinstance(value, Map):
            result.start = value.start
            for key, item in value.items():
                result.put(key, missing if item is None else values.go_text(item), value.where(key))
        elif isinstance(value, Seq):
            for item, at in value.entries():
                key, equals, content = str(item).partition("=")
                if key[-1:].isspace() and missing is None:
                    raise Context(context.path, at, at).error(
                        f"the name `{key}` ends with a space", "remove the space before the ="
                    )
                result.put(key, content if equals else missing, (at, at))
        return result if result else DROP

    return function


strings_map = _to_map("")
variables_map = _to_map(None)


def extra_hosts(value: Any, context: Context) -> Any:
    """``host=ip`` or ``host:ip``, a list or a mapping -> a sorted list of ``host=ip``."""
    pairs: list[tuple[str, str]] = []
    if isinstance(value, Map):
        for host, addresses in value.items():
            for address in addresses if isinstance(addresses, list) else [addresses]:
                pairs.append((host, values.go_text(address)))
    elif isinstance(value, Seq):
        for item, at in value.entries():
            line = str(item)
            separator = "=" if "=" in line else ":"
            host, found, addresses = line.partition(separator)
            if not found:
                raise Context(context.path, at, at).error(f"`{line}` lacks an address", "write HOST=ADDRESS")
            pairs.extend((host, address) for address in addresses.split(","))
    lines = []
    for host, address in pairs:
        if not host or ":" in host or "=" in host:
            raise context.error(f"`{host}` is not the name of a host", "write HOST=ADDRESS")
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        lines.append(f"{host}={address}")
    return Seq(context.at, sorted(lines)) if lines else DROP


def ulimit(value: Any, context: Context) -> Any:
    """A number, or soft and hard."""
    if isinstance(value, Map):
        for key in ("soft", "hard"):
            if isinstance(value.get(key), str):
                raise context.within(key, value.where(key)[1]).error(
                    "is not a whole number", "write it without quotes"
                )
        return value
    try:
        return _integer(value)
    except ValueError as problem:
        raise context.refusal(problem) from None


def ssh(value: Any, context: Context) -> Any:
    """A mapping of key names and paths -> ``default`` or ``ID=path``."""
    if isinstance(value, Map):
        return Seq(context.at, [key if not path else f"{key}={path}" for key, path in value.items()]) or DROP
    return value


def provider_options(value: Any, context: Context) -> Any:
    """Every option a list of strings."""
    if isinstance(value, Map):
        for key, item in value.items():
            items = item if isinstance(item, list) else [item]
            value[key] = Seq(context.at, [values.go_text(one) for one in items])
    return value


def volume(value: Any, context: Context) -> Any:
    if isinstance(value, Map):
        for key in ("type", "source", "target", "consistency"):
            if value.get(key) in ("", None):
                value.pop(key, None)
    return value


def storage_options(value: Any, context: Context) -> Any:
    """Free options -> strings."""
    if isinstance(value, Map):
        for key, item in value.items():
            value[key] = values.go_text(item)
    return value if value else DROP


def external(value: Any, context: Context) -> Any:
    try:
        return True if _boolean(value) else DROP
    except ValueError as problem:
        raise context.refusal(problem) from None
