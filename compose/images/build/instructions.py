"""One class an instruction.

    __init__   parse: what can be wrong without knowing a variable is an error here, before anything is built
    prepare    replace variables, find and digest what is read
    key        what the instruction adds to the step's cache key
    execute    change files, below a fresh layer (only if `changes_files`)
    commit     change the configuration

Source of the rules: Dockerfile reference; where it leaves a choice, what BuildKit does. FROM is no step: the
builder reads it (`From`).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, ClassVar

from compose.images.build.parser import NAMES
from compose.images.build.state import PROXY_ARGUMENTS
from compose.images.build.words import expand, json_words, pairs, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from compose.images.build.parser import Instruction
    from compose.images.build.state import StageState


class Step:
    """An instruction that is part of a stage."""

    changes_files: ClassVar[bool] = False
    flags: ClassVar[tuple[str, ...]] = ()
    """Flags that the instruction takes."""

    def __init__(self, instruction: Instruction, escape: str) -> None:
        self.instruction = instruction
        self.place = instruction.place
        self.text = instruction.text
        self.escape = escape
        self.given = dict(instruction.flags)
        if len(self.given) < len(instruction.flags):
            raise self.place.error(f"{instruction.name}: a flag is given twice")
        for name in self.given:
            self.check_flag(name)
        self.parse()

    def check_flag(self, name: str) -> None:
        """Refuse a flag that the instruction does not take."""
        if name not in self.flags:
            raise self.place.error(f"{self.instruction.name} has no flag --{name}")

    def parse(self) -> None:
        """Check and take apart what needs no variables."""

    def prepare(self, stage: StageState) -> None:
        """Replace variables."""

    def key(self, stage: StageState) -> list[object]:
        """What the result depends on beside the layers and the configuration before it."""
        raise NotImplementedError

    def execute(self, stage: StageState, directory: str) -> None:
        """Change files: `directory` is a scratch directory with ``layer/tree`` and ``work``."""

    def commit(self, stage: StageState) -> None:
        """Change the configuration."""

    @property
    def shown(self) -> str:
        """For people, and for the history."""
        return self.instruction.original


class _Pairs(Step):
    def parse(self) -> None:
        self.raw = pairs(self.text, self.escape, self.place, self.instruction.name)

    def prepare(self, stage: StageState) -> None:
        self.pairs = [
            (stage.expand(key, self.place), stage.expand(value, self.place)) for key, value in self.raw
        ]
        if any(not key for key, _ in self.pairs):
            raise self.place.error(f"{self.instruction.name}: a name is empty")

    def key(self, stage: StageState) -> list[object]:
        return [self.instruction.name, self.pairs]


class Env(_Pairs):
    def commit(self, stage: StageState) -> None:
        for key, value in self.pairs:
            stage.set_environment(key, value)


class Label(_Pairs):
    def commit(self, stage: StageState) -> None:
        stage.config["Labels"] = {**(stage.config.get("Labels") or {}), **dict(self.pairs)}


class Arg(Step):
    def parse(self) -> None:
        self.declared: list[tuple[str, str | None]] = []
        for word in split(self.text, self.escape):
            name, equals, default = word.partition("=")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise self.place.error(f"ARG: {name!r} is not a name")
            self.declared.append((name, default if equals else None))

    def values(self, lookup: Callable[[str], str | None], *sources: Mapping[str, str]) -> dict[str, str]:
        """The values after this instruction of what it declares; the first of `sources` that knows one
        wins."""
        found: dict[str, str] = {}
        for name, default in self.declared:
            given = next((source[name] for source in sources[:1] if name in source), None)
            if given is None and default is not None:
                given = expand(default, lambda key: found.get(key) or lookup(key), self.escape, self.place)
            if given is None:
                given = next((source[name] for source in sources[1:] if name in source), None)
            if given is not None:
                found[name] = given
        return found

    def prepare(self, stage: StageState) -> None:
        self.found = self.values(stage.lookup, stage.build.arguments, stage.global_arguments)

    def key(self, stage: StageState) -> list[object]:
        return ["ARG", [name for name, _ in self.declared], self.found]

    def commit(self, stage: StageState) -> None:
        stage.arguments.update(self.found)


class _Command(Step):
    """CMD and ENTRYPOINT: exec form as it stands, shell form after the shell."""

    def parse(self) -> None:
        self.exec_form = json_words(self.text)

    def key(self, stage: StageState) -> list[object]:
        return [self.instruction.name, self.text]

    def words(self, stage: StageState) -> list[str] | None:
        if self.exec_form is not None:
            return self.exec_form
        return [*stage.shell, self.text] if self.text else None


class Cmd(_Command):
    def commit(self, stage: StageState) -> None:
        stage.config["Cmd"] = self.words(stage)
        stage.command_set = True


class Entrypoint(_Command):
    def commit(self, stage: StageState) -> None:
        stage.config["Entrypoint"] = self.words(stage)
        if not stage.command_set:
            stage.config.pop("Cmd", None)


class Shell(Step):
    def parse(self) -> None:
        self.words = json_words(self.text)
        if not self.words:
            raise self.place.error("SHELL needs the JSON form", hint='SHELL ["/bin/bash", "-c"]')

    def key(self, stage: StageState) -> list[object]:
        return ["SHELL", self.words]

    def commit(self, stage: StageState) -> None:
        stage.config["Shell"] = self.words


class _Word(Step):
    """An instruction with one argument."""

    def prepare(self, stage: StageState) -> None:
        self.value = stage.expand(self.text, self.place)

    def key(self, stage: StageState) -> list[object]:
        return [self.instruction.name, self.value]


class User(_Word):
    def prepare(self, stage: StageState) -> None:
        super().prepare(stage)
        if len(self.value.split()) != 1:
            raise self.place.error(f"USER {self.value}: one user, or user:group")

    def commit(self, stage: StageState) -> None:
        stage.config["User"] = self.value


class Maintainer(_Word):
    def prepare(self, stage: StageState) -> None:
        self.value = self.text

    def commit(self, stage: StageState) -> None:
        stage.document["author"] = self.value


class StopSignal(_Word):
    def prepare(self, stage: StageState) -> None:
        super().prepare(stage)
        import signal

        name = self.value.upper().removeprefix("SIG")
        known = hasattr(signal.Signals, f"SIG{name}") or re.fullmatch(r"RTM(IN(\+\d+)?|AX(-\d+)?)", name)
        if not known and not (self.value.isdigit() and 1 <= int(self.value) <= 64):
            raise self.place.error(f"STOPSIGNAL {self.value}: no such signal")

    def commit(self, stage: StageState) -> None:
        stage.config["StopSignal"] = self.value


class Expose(Step):
    def prepare(self, stage: StageState) -> None:
        self.ports: list[str] = []
        for word in split(self.text, self.escape):
            for port in stage.expand(word, self.place).split():
                self.ports += self._range(port)

    def _range(self, text: str) -> list[str]:
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", text.lower())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not found or not 0 < first <= last <= 65535:
            raise self.place.error(f"EXPOSE {text}: not a port", hint="EXPOSE 80, 80/udp or 8000-8010")
        return [f"{port}/{found[3] or 'tcp'}" for port in range(first, last + 1)]

    def key(self, stage: StageState) -> list[object]:
        return ["EXPOSE", self.ports]

    def commit(self, stage: StageState) -> None:
        known = stage.config.get("ExposedPorts") or {}
        stage.config["ExposedPorts"] = {**known, **{port: {} for port in self.ports}}


class Volume(Step):
    def prepare(self, stage: StageState) -> None:
        words = json_words(self.text)
        raw = split(self.text, self.escape) if words is None else words
        self.paths = [stage.expand(word, self.place) if words is None else word for word in raw]
        if any(not path.strip() for path in self.paths):
            raise self.place.error("VOLUME: a path is empty")
        if any(".." in path.split("/") for path in self.paths):
            raise self.place.error("VOLUME: a path has .. in it")

    def key(self, stage: StageState) -> list[object]:
        return ["VOLUME", self.paths]

    def commit(self, stage: StageState) -> None:
        known = stage.config.get("Volumes") or {}
        stage.config["Volumes"] = {**known, **{posixpath.normpath(path): {} for path in self.paths}}


_DURATIONS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_HEALTH_FLAGS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}


class Healthcheck(Step):
    flags = tuple(_HEALTH_FLAGS)

    def parse(self) -> None:
        kind, _, rest = self.text.partition(" ")
        if kind.upper() == "NONE":
            if self.given or rest.strip():
                raise self.place.error("HEALTHCHECK NONE takes nothing else")
            self.check: dict[str, Any] = {"Test": ["NONE"]}
            return
        if kind.upper() != "CMD" or not rest.strip():
            raise self.place.error(
                "HEALTHCHECK needs CMD and a command, or NONE", hint="HEALTHCHECK CMD test -e /ok"
            )
        words = json_words(rest.strip())
        self.check = {"Test": ["CMD-SHELL", rest.strip()] if words is None else ["CMD", *words]}
        for name, value in self.given.items():
            self.check[_HEALTH_FLAGS[name]] = (
                self._count(value) if name == "retries" else self._time(name, value)
            )

    def _count(self, value: str) -> int:
        if not value.isdigit() or int(value) < 1:
            raise self.place.error(f"HEALTHCHECK --retries={value}: a number of 1 or more")
        return int(value)

    def _time(self, name: str, value: str) -> int:
        """Nanoseconds of a duration such as ``1m30s``."""
        found = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", value)
        if not found or "".join(number + unit for number, unit in found) != value:
            raise self.place.error(f"HEALTHCHECK --{name}={value}: not a duration", hint="for example 1m30s")
        total = round(sum(float(number) * _DURATIONS[unit] for number, unit in found))
        if 0 < total < 10**6:
            raise self.place.error(f"HEALTHCHECK --{name}={value}: less than 1ms")
        return total

    def key(self, stage: StageState) -> list[object]:
        return ["HEALTHCHECK", self.check]

    def commit(self, stage: StageState) -> None:
        stage.config["Healthcheck"] = self.check


class OnBuild(Step):
    def parse(self) -> None:
        word = self.text.split(None, 1)[0].upper()
        if word in ("ONBUILD", "FROM", "MAINTAINER"):
            raise self.place.error(f"ONBUILD {word} is not allowed")
        if word not in NAMES:
            raise self.place.error(f"ONBUILD: unknown instruction {word}")

    def key(self, stage: StageState) -> list[object]:
        return ["ONBUILD", self.text]

    def commit(self, stage: StageState) -> None:
        stage.config["OnBuild"] = [*(stage.config.get("OnBuild") or []), self.text]


class From:
    """FROM: begins a stage."""

    def __init__(self, instruction: Instruction, escape: str) -> None:
        self.instruction = instruction
        self.place = instruction.place
        self.escape = escape
        words = split(instruction.text, escape)
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise self.place.error("FROM needs an image, or: image AS name")
        for name, _ in instruction.flags:
            if name != "platform":
                raise self.place.error(f"FROM has no flag --{name}")
        self.platform = dict(instruction.flags).get("platform", "")
        self.base = words[0]
        self.name = words[2].lower() if len(words) == 3 else ""
        if self.name and not re.fullmatch(r"[a-z][a-z0-9-_.]*", self.name):
            raise self.place.error(f"FROM ... AS {words[2]}: not a name for a stage")

    def expand(self, text: str, arguments: Mapping[str, str]) -> str:
        return expand(text, arguments.get, self.escape, self.place)


def unused_arguments(given: Mapping[str, str], declared: set[str]) -> list[str]:
    """Build arguments that no ARG asked for."""
    return sorted(set(given) - declared - PROXY_ARGUMENTS)
