"""One validated, frozen object of settings, given to every part; the only module that reads the environment.

Each field is also the variable ``TASKQ_<FIELD>``; times are seconds. An explicit argument wins over the environment,
the environment over the default.
"""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from taskq.registry.errors import InvalidInput, ServerUnreachable
from taskq.registry.names import check

HOME_FOLDER = ".taskq"
UP_FILE = "up.json"
_RQ_PREFIX_VARIABLE = "RQ_KEY_PREFIX"
# What an executor may inherit; everything else, and each TASKQ_* variable, stays with the supervisor.
_EXECUTOR_VARIABLES = (
    "PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
_EXECUTOR_PREFIXES = ("LC_",)


class Settings(BaseModel):
    """Settings of one process. Each description says what happens if the field is unset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: str | None = Field(
        None, description="redis://, rediss:// or unix:// URL; unset: the server of `taskq up` in this folder or a parent"
    )
    redis_password_file: Path | None = Field(
        None, description="file with the password of ``redis_url``, on one line; a password in the URL wins; unset: none"
    )
    namespace: str = Field("taskq", description="prefix of all keys of ours; unset: taskq")
    rq_prefix: str = Field("rq", description="RQ's key prefix, from RQ_KEY_PREFIX; unset: rq")
    lease: float = Field(30.0, gt=0, description="how long a claimed run stays owned without renewal; unset: 30 s")
    lease_renew: float = Field(10.0, gt=0, description="how often the owner renews; unset: 10 s")
    sweep: float = Field(5.0, gt=0, description="how often a worker looks for expired leases; unset: 5 s")
    heartbeat: float = Field(2.0, gt=0, description="how often a worker reports itself; unset: 2 s")
    worker_ttl: float = Field(10.0, gt=0, description="how long after its last heartbeat a worker counts as alive; unset: 10 s")
    scheduler_lease: float = Field(5.0, gt=0, description="how long a silent scheduler leads, at most ``lease``; unset: 5 s")
    misfire_after: float = Field(30.0, ge=0, description="how late a slot may fire before the misfire policy decides; unset: 30 s")
    poll: float = Field(2.0, gt=0, description="how often the registry is read behind the change channel; unset: 2 s")
    pubsub: bool = Field(True, description="listen to the change channel; off: polling and claims alone find changes")
    load_timeout: float = Field(10.0, gt=0, description="how long the import of a version may take; unset: 10 s")
    stage_timeout: float = Field(30.0, gt=0, description="how long a rollout waits for the workers; unset: 30 s")
    result_ttl: float | None = Field(None, ge=0, description="how long results are kept; unset: what the task's spec says")
    failure_ttl: float | None = Field(None, ge=0, description="how long failed runs are kept; unset: what the task's spec says")
    idempotency_ttl: float = Field(86_400.0, gt=0, description="how long an idempotency key is remembered; unset: 24 h")
    log_ttl: float = Field(86_400.0, gt=0, description="how long a run's log is kept; unset: 24 h")
    log_lines: int = Field(10_000, gt=0, description="how many lines of a run's log are kept; unset: 10,000")
    log_bytes: int = Field(4_194_304, gt=0, description="how many bytes of text an attempt may log; unset: 4 MiB")
    max_params: int = Field(1_048_576, gt=0, description="largest size of a run's parameters in bytes; unset: 1 MiB")
    max_result: int = Field(16_777_216, gt=0, description="largest size of a result in bytes; unset: 16 MiB")
    max_artifact: int = Field(52_428_800, gt=0, description="largest size of an artifact in bytes; unset: 50 MiB")
    async_slots: int = Field(100, gt=0, le=10_000, description="how many async def runs an executor has in progress at once; unset: 100")
    events: Literal["off", "outcomes", "all"] = Field("outcomes", description="which run events are published; unset: outcomes")
    stats: bool = Field(True, description="count runs and their durations by task, version and minute; off: nothing is counted")
    limits_by: Literal["auto", "v2", "v1", "watchdog"] = Field(
        "auto", description="what holds runs to their resources: control groups (v2, v1) or a watchdog; unset: the best that works"
    )
    preload: int = Field(200, ge=0, description="how many tasks a starting worker loads ahead; the rest at first use; unset: 200")
    executor_env: tuple[str, ...] = Field((), description="names of further variables that executors may see; unset: none")
    executor_idle: float = Field(30.0, gt=0, description="how long an executor beyond the least is idle until it goes; unset: 30 s")
    connect_timeout: float = Field(2.0, gt=0, description="how long one connection attempt may take; unset: 2 s")
    socket_timeout: float = Field(5.0, gt=0, description="how long one reply may take; unset: 5 s")

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        return check("namespace", value)

    @field_validator("executor_env", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _renewed_in_time(self) -> Settings:
        if self.lease_renew * 2 > self.lease:
            raise ValueError(f"lease_renew {self.lease_renew:g} s must be at most half of lease {self.lease:g} s")
        return self

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **explicit: Any) -> Settings:
        """Settings from explicit values, then the environment, then the defaults.

        Args:
            environ: the environment; this process's if None.
            explicit: fields that win; None counts as not given.

        Raises:
            InvalidInput: a value is not allowed; the message names the field or variable.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            text = source.get(f"TASKQ_{name.upper()}")
            if text:
                values[name] = text
        if source.get(_RQ_PREFIX_VARIABLE):
            values["rq_prefix"] = source[_RQ_PREFIX_VARIABLE]
        values.update({name: value for name, value in explicit.items() if value is not None})
        try:
            return cls(**values)
        except ValidationError as error:
            raise InvalidInput(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field, Settings.model_fields, n=1)
            lines.append(f"there is no setting {field}" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        value = "" if field in ("settings", "redis_url") else f" (given: {item['input']!r})"
        lines.append(f"{field} (TASKQ_{field.upper()}): {item['msg']}{value}")
    return "; ".join(lines)


def find_url(settings: Settings, folder: Path | None = None) -> str:
    """The URL of the server to speak with.

    ``settings.redis_url`` if set, else the server that `taskq up` runs in ``folder`` (the working folder if None) or a
    parent. Its ``.taskq/`` is honoured only if it belongs to this user, has mode 0700 and names a socket inside itself.

    Raises:
        ServerUnreachable: none is named and none found; says what to do.
    """
    if settings.redis_url:
        return settings.redis_url
    start = (folder or Path.cwd()).resolve()
    for place in (start, *start.parents):
        home = place / HOME_FOLDER
        if home.is_dir():
            return _url_of(home)
    raise ServerUnreachable(
        "no Redis server is named and no `taskq up` runs in this folder or a parent",
        hint="start one with `taskq up`, or give --redis URL or TASKQ_REDIS_URL",
    )


def _url_of(home: Path) -> str:
    hint = "start it with `taskq up`, or give --redis URL or TASKQ_REDIS_URL"
    state = home.stat()
    if state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) != 0o700:
        raise ServerUnreachable(f"{home} is not used: it must belong to you and have mode 0700", hint=hint)
    try:
        document = json.loads((home / UP_FILE).read_text())
        socket = Path(str(document["socket"]))
    except FileNotFoundError:
        raise ServerUnreachable(f"`taskq up` is not running in {home.parent}", hint=hint) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ServerUnreachable(f"{home / UP_FILE} can't be read: {error}", hint=hint) from None
    if socket.is_absolute() or ".." in socket.parts or not (home / socket).is_socket():
        raise ServerUnreachable(f"{home / UP_FILE} names no socket inside {home}", hint=hint)
    password = document.get("password")
    return f"unix://{':' + quote(str(password)) + '@' if password else ''}{quote(str(home / socket))}"


def read_password(settings: Settings) -> str | None:
    """The password in ``redis_password_file``, without the end of its line; None if no file is named.

    It belongs to ``redis_url``: without one it is None as well, since the server of `taskq up` tells its password itself.
    It is read for each client and never kept in the settings, so that nothing that prints them can show it.

    Raises:
        InvalidInput: the file can't be read, or is not one line of text.
    """
    path = settings.redis_password_file
    if path is None or settings.redis_url is None:
        return None
    try:
        text = path.read_bytes().decode().removesuffix("\n").removesuffix("\r")
        fault = None if text.isprintable() and text else "must hold the password alone, on one line"
    except OSError as error:
        fault = f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        fault = "is not text in UTF-8"
    if fault:
        raise InvalidInput(f"redis_password_file (TASKQ_REDIS_PASSWORD_FILE) {str(path)!r} {fault}")
    return text


def executor_environment(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that task code may see: an allow-list, and what ``executor_env`` names; never ``TASKQ_*``."""
    source = os.environ if environ is None else environ
    wanted = set(_EXECUTOR_VARIABLES) | set(settings.executor_env)
    return {
        name: value
        for name, value in source.items()
        if (name in wanted or name.startswith(_EXECUTOR_PREFIXES)) and not name.startswith("TASKQ_")
    }
