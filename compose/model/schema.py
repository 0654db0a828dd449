"""Validation against the schemas of schemas/, and errors that say what to write instead.

jsonschema is imported here and nowhere else, and only when `accept` does not see at once that a file is
right.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from compose.model.accept import Shapes, second
from compose.model.scalars import Date
from compose.model.tree import RESET, Map, Path, Position, Seq, error, locate
from compose.model.values import go_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import jsonschema

    from compose.errors import ModelError

_documents: dict[str, dict[str, Any]] = {}
_shapes: dict[str, Shapes] = {}
_validators: dict[str, jsonschema.protocols.Validator] = {}

_SUSPECTS = 20
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}


def schema_path(name: str = "compose") -> str:
    """A schema's file: beside the package in a checkout, inside of it when installed."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for directory in (os.path.join(package, "schemas"), os.path.join(os.path.dirname(package), "schemas")):
        path = os.path.join(directory, f"{name}.json")
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"schemas/{name}.json")


def document(name: str = "compose") -> dict[str, Any]:
    """A schema as it stands in its file."""
    if name not in _documents:
        with open(schema_path(name), encoding="utf-8") as file:
            _documents[name] = json.load(file)
    return _documents[name]


def shapes(name: str = "compose") -> Shapes:
    """The quick judge of a schema."""
    if name not in _shapes:
        _shapes[name] = Shapes(document(name))
    return _shapes[name]


def validator(name: str = "compose") -> jsonschema.protocols.Validator:
    """The judge whose word counts."""
    if name not in _validators:
        import jsonschema

        extend: Any = jsonschema.validators.extend
        draft: Any = jsonschema.Draft7Validator
        types = draft.TYPE_CHECKER.redefine("string", _is_text)
        kind = extend(draft, {"uniqueItems": _unique_items}, type_checker=types)
        _validators[name] = kind(document(name))
    return _validators[name]


def _is_text(_checker: Any, value: Any) -> bool:
    """A date is none: it came from below an x-... key by an alias."""
    return isinstance(value, str) and not isinstance(value, Date)


def validate(tree: Map, *, partial: bool, name: str = "compose") -> None:
    """Raise ModelError for the first thing in the file that the schema refuses.

    A `partial` tree is yet to be laid over another one: what is missing or empty may still come from there.
    """
    if not shapes(name).accept(tree, partial=partial):
        refuse(tree, partial=partial, name=name)


def refuse(tree: Map, *, partial: bool, name: str = "compose") -> None:
    """Ask jsonschema; raise ModelError for the first thing that it refuses."""
    for suspect in (_suspect(tree, partial=partial, name=name), tree):
        found: list[tuple[Position, jsonschema.ValidationError]] = []
        for problem in validator(name).iter_errors(suspect):
            if problem.instance is RESET:
                continue
            if partial and (problem.validator == "required" or problem.instance is None):
                continue
            found.append((_position(tree, problem), problem))
        if found:
            at, problem = min(found, key=lambda pair: (pair[0][1], pair[0][2]))
            raise explain(problem, at)


def _suspect(tree: Map, *, partial: bool, name: str) -> Map:
    """The tree without the services, networks and so on that are surely right, and not too many others.

    jsonschema needs a second for some thousands of services; the first mistake is all that is said.
    """
    judge, sections = shapes(name), document(name).get("properties", {})
    result = tree.copy()
    for key, section in tree.items():
        if not isinstance(section, Map) or key not in sections:
            continue
        rest = Map(section.start)
        for entry, value in section.items():
            alone = Map(section.start)
            alone[entry] = value
            if not judge.accept(alone, partial=partial, schema=sections[key]):
                rest.put(entry, value, section.at.get(entry))
                if len(rest) == _SUSPECTS:
                    break
        result[key] = rest
    return result


def _position(tree: Map, problem: jsonschema.ValidationError) -> Position:
    path: Path = tuple(problem.absolute_path)
    places = locate(tree, path) or (tree.start, tree.start)
    at = places[1]
    if "propertyNames" in problem.absolute_schema_path and isinstance(problem.instance, str):
        container = _at(tree, path)
        return container.where(problem.instance)[0] if isinstance(container, Map) else at
    if problem.validator == "additionalProperties":
        unknown = _unknown(problem)
        container = problem.instance
        return container.where(unknown[0])[0] if unknown and isinstance(container, Map) else at
    if problem.validator == "required":
        return places[0]
    if problem.validator == "uniqueItems" and isinstance(problem.instance, Seq):
        return problem.instance.where(second(problem.instance) or 0)
    return at


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """jsonschema's own compares each item with all others: half a minute for a list of 50,000."""
    import jsonschema

    if wanted and isinstance(instance, list) and second(instance) is not None:
        yield jsonschema.ValidationError("has non-unique elements")


def _unknown(problem: Any) -> list[str]:
    known = problem.schema.get("properties", {})
    return [key for key in problem.instance if key not in known and not str(key).startswith("x-")]


def explain(problem: Any, at: Position) -> ModelError:
    """One validation error in words."""
    path: Path = tuple(problem.absolute_path)
    keyword, value, instance = problem.validator, problem.validator_value, problem.instance
    if "propertyNames" in problem.absolute_schema_path and isinstance(instance, str):
        return error(
            at,
            path,
            f"`{_short(instance)}` cannot be a name",
            "use letters and digits"
            if value == "^[a-zA-Z0-9]+$"
            else "use letters, digits, dots, hyphens and underscores, 128 at most",
        )
    if keyword == "additionalProperties":
        return _unknown_key(problem, at, path)
    if keyword == "type":
        return _wrong_type(value, instance, at, path)
    if keyword == "required":
        missing = [key for key in value if key not in instance]
        return error(at, path, f"lacks the key `{missing[0]}`", f"add `{missing[0]}:`")
    if keyword == "enum":
        return error(at, path, f"`{instance}` is none of {_either(value, 'and')}", _similar(instance, value))
    if keyword == "pattern":
        return error(at, path, f"`{instance}` is not allowed here", _pattern_hint(path))
    if keyword == "uniqueItems":
        index = second(instance) or 0
        return error(
            at, (*path, index), f"`{_short(instance[index])}` is in the list twice", "remove one of them"
        )
    if keyword in ("minimum", "maximum"):
        relation = "less" if keyword == "minimum" else "more"
        return error(at, path, f"{instance} is {relation} than {value}", f"{value} is the {keyword}")
    return error(at, path, problem.message)


def _unknown_key(problem: Any, at: Position, path: Path) -> ModelError:
    unknown = _unknown(problem)[0]
    known = list(problem.schema.get("properties", {}))
    hint = _similar(unknown, known)
    if hint is None and len(path) == 0 and isinstance(problem.instance.get(unknown), dict):
        hint = f"services belong below `services:`; keys of your own begin with x-, such as `x-{unknown}`"
    elif hint is None:
        hint = (
            f"keys of your own begin with x-, such as `x-{unknown}`"
            if len(known) > 12
            else (f"the keys here are {_either(known, 'and')}" if known else None)
        )
    return error(at, (*path, unknown), "unknown key", hint)


def _wrong_type(value: Any, instance: Any, at: Position, path: Path) -> ModelError:
    allowed = [value] if isinstance(value, str) else list(value)
    if isinstance(instance, Date):
        return error(at, path, f"`{instance}` is read as a date", "write it in quotes where it comes from")
    is_now = _type_of(instance)
    wanted = _either([_TYPES[one] for one in allowed], "or", quoted=False)
    hint = None
    if "string" in allowed and isinstance(instance, (bool, int, float)):
        text = go_text(instance)
        hint = f'write it in quotes: "{text}"'
    elif instance is None:
        hint = "give it a value, or remove the key"
    elif "array" in allowed and not isinstance(instance, dict):
        hint = f"write `- {_short(go_text(instance))}` in a line of its own"
    elif isinstance(instance, dict) and allowed == ["string"] and len(instance) == 1:
        key, text = next(iter(instance.items()))
        hint = f'write it in quotes: "{key}: {_short(text)}"'
    elif "object" in allowed and isinstance(instance, list):
        hint = "write `name:` rather than `- name`"
    elif "string" in allowed and isinstance(instance, list):
        hint = (
            f"write one of them: {_short(instance[0])}" if instance else "write one value, without brackets"
        )
    return error(at, path, f"must be {wanted}, is {is_now}", hint)


def _type_of(instance: Any) -> str:
    if instance is None:
        return "empty"
    if isinstance(instance, bool):
        return "a boolean"
    if isinstance(instance, (int, float)):
        return "a number"
    if isinstance(instance, str):
        return "a string"
    return "a mapping" if isinstance(instance, dict) else "a list"


def _pattern_hint(path: Path) -> str | None:
    if path and path[-1] == "pull_policy":
        return "write always, missing, never, build, daily, weekly or every_12h"
    if path and path[-1] == "gpus":
        return "write `all`, or a list of devices"
    if path and path[-1] == "container_name":
        return "use letters, digits, dots, hyphens and underscores, at least two"
    return None


def _similar(word: Any, known: list[str]) -> str | None:
    import difflib

    words = [str(one) for one in known]
    close = difflib.get_close_matches(str(word), words, 1, 0.7)
    if not close and len(str(word)) > 3:
        close = [one for one in words if str(word) in one]
    return f"did you mean `{close[0]}`?" if close else None


def _either(words: list[str], last: str, *, quoted: bool = True) -> str:
    shown = [f"`{word}`" if quoted else word for word in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
