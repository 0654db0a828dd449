"""The protocol of providers (Docker Compose, extension): a program is run, and says JSON objects, one a line.

TYPE compose --project-name=PROJECT up --OPTION=VALUE ... SERVICE       also down, and stop
TYPE compose metadata                                                   optional: which options there are

{"type": "info", "message": "..."}          shown
{"type": "error", "message": "..."}         why it fails
{"type": "setenv", "message": "A=b"}        SERVICE_A=b for those who depend on the service
{"type": "rawsetenv", "message": "A=b"}     A=b
{"type": "debug", "message": "..."}         not shown
{"type": "get-service-config"}              answered on its input with the service's configuration
"""

from __future__ import annotations

import json
import subprocess
import threading
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ComposeError

from .programs import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO, Any

_LONGEST = 1 << 20
_METADATA_PATIENCE = 30.0
_DOING = {"up": "create", "down": "remove", "stop": "stop"}


def depended_on(services: Mapping[str, Mapping[str, Any]], service: str) -> list[str]:
    """The services that depend on `service` directly."""
    return [name for name, config in services.items() if service in (config.get("depends_on") or {})]


class Provider(NamedTuple):
    """A service that another program provides."""

    project: str
    service: str
    kind: str
    """``provider.type``: the program's name."""
    options: Mapping[str, list[str]]

    @classmethod
    def of(cls, project: str, service: str, config: Mapping[str, Any]) -> Provider:
        """That of a service's configuration."""
        return cls.read(project, service, config["provider"])

    @classmethod
    def read(cls, project: str, service: str, data: Mapping[str, Any]) -> Provider:
        """That of a record."""
        options = {
            str(key): [str(one) for one in values] for key, values in (data.get("options") or {}).items()
        }
        return cls(project, service, str(data.get("type") or ""), options)

    def data(self) -> dict[str, Any]:
        """As `read` takes it."""
        return {"type": self.kind, "options": dict(self.options)}

    def program(self) -> str:
        """Where its program is. Raises `ComposeError`."""
        found = find(self.kind) if self.kind and self.kind != "compose" else None
        if found is None:
            raise ComposeError(
                f"service {self.service}: provider {self.kind}: there is no such program",
                hint=f"install docker-{self.kind} or {self.kind} on PATH",
            )
        return found

    def can(self, command: str) -> bool:
        """Whether the program says that it knows a command."""
        return isinstance(_metadata(self.program()).get(command), dict)

    def run(
        self, command: str, tell: Callable[[str, str], None], config: Mapping[str, Any]
    ) -> dict[str, str]:
        """Run one command to its end; the variables that it gives. Raises `ComposeError`."""
        program = self.program()
        tell(self.service, f"{self.kind} {command}")
        arguments = [program, "compose", f"--project-name={self.project}", command]
        arguments += [*self._options(command, _metadata(program)), self.service]
        try:
            process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise ComposeError(f"service {self.service}: {program}: {error.strerror}") from None
        with process:
            try:
                said = _Conversation(self.service, process, tell, config).variables()
            except BaseException:
                process.kill()
                raise
            code = process.wait()
        if code:
            raise ComposeError(
                f"service {self.service}: {self.kind} could not {_DOING[command]} it: exit code {code}"
            )
        return said

    def _options(self, command: str, metadata: Mapping[str, Any]) -> list[str]:
        """The options as arguments; those that the program does not know for a command are left out."""
        known = _parameters(metadata.get(command)) if metadata else None
        for name, parameter in (known or {}).items():
            if parameter.get("required") and name not in self.options:
                raise ComposeError(
                    f"service {self.service}: provider {self.kind} needs the option {name}",
                    hint=f"add it to services.{self.service}.provider.options",
                )
        return [
            f"--{name}={value}"
            for name, values in self.options.items()
            if known is None or name in known
            for value in values
        ]


def _parameters(command: Any) -> dict[str, Mapping[str, Any]]:
    entries = command.get("parameters") if isinstance(command, dict) else None
    return {str(one.get("name")): one for one in entries or () if isinstance(one, dict)}


def _metadata(program: str) -> Mapping[str, Any]:
    """What a provider says of its options; nothing where it says nothing that can be read."""
    try:
        done = subprocess.run(
            [program, "compose", "metadata"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_METADATA_PATIENCE,
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, RecursionError, subprocess.TimeoutExpired):
        return {}
    return found if isinstance(found, dict) else {}


class _Conversation:
    """What a provider says, and what it is answered."""

    def __init__(
        self,
        service: str,
        process: subprocess.Popen[bytes],
        tell: Callable[[str, str], None],
        config: Mapping[str, Any],
    ) -> None:
        self._service = service
        self._process = process
        self._tell = tell
        self._config = config
        self._answers: list[threading.Thread] = []
        self._turn = threading.Lock()

    def variables(self) -> dict[str, str]:
        """Listen to the end; the variables, with their final names."""
        found: dict[str, str] = {}
        assert self._process.stdout is not None and self._process.stdin is not None
        try:
            for kind, message in self._messages(self._process.stdout):
                if kind == "error":
                    raise ComposeError(f"service {self._service}: {message}")
                if kind == "info":
                    self._tell(self._service, message.partition("\n")[0])
                elif kind in ("setenv", "rawsetenv"):
                    key, equals, value = message.partition("=")
                    if not equals or not key or "\0" in message:
                        raise self._odd(message)
                    prefix = f"{self._service.upper()}_" if kind == "setenv" else ""
                    found[prefix + key] = value
                elif kind == "get-service-config":
                    self._answer()
                elif kind != "debug":
                    raise self._odd(kind)
        finally:
            self._close_input()
        return found

    def _messages(self, stream: IO[bytes]) -> Iterator[tuple[str, str]]:
        while line := stream.readline(_LONGEST):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
                yield str(value["type"]), str(value.get("message") or "")
            except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
                raise self._odd(line.decode("utf-8", "replace").strip()) from None

    def _odd(self, text: str) -> ComposeError:
        return ComposeError(
            f"service {self._service}: the provider says what is not understood: {text[:200]}"
        )

    def _answer(self) -> None:
        """Write the configuration from a thread of its own: a provider may speak on before it reads."""
        data = json.dumps(self._config).encode() + b"\n"

        def write() -> None:
            assert self._process.stdin is not None
            with self._turn:
                try:
                    self._process.stdin.write(data)
                    self._process.stdin.flush()
                except (OSError, ValueError):  # it reads no more
                    return

        thread = threading.Thread(target=write, daemon=True)
        self._answers.append(thread)
        thread.start()

    def _close_input(self) -> None:
        for thread in self._answers:
            thread.join(1.0)
        if not any(thread.is_alive() for thread in self._answers):
            try:
                self._process.stdin.close()  # type: ignore[union-attr]
            except OSError:
                return
