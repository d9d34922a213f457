"""One function a promise: each takes the running stack, raises `NotProven`, or returns what it found in a sentence.

They build on each other in the order of `PROOFS`.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from stackproof.stack import NotProven, Stack, names, until

WORKERS = 3
DRAIN = 120.0  # seconds; a killed worker's runs are taken over when its lease ends, after 30 s
_OPEN = "0A"  # LISTEN in /proc/net/tcp


class Skipped(Exception):
    """This one can't be shown here."""


def check(holds: object, otherwise: str) -> None:
    """Raise `NotProven` with ``otherwise`` unless it holds."""
    if not holds:
        raise NotProven(otherwise)


def image_is_built(stack: Stack) -> str:
    began = time.monotonic()
    stack.compose("build")
    took = time.monotonic() - began
    size = int(stack.docker("image", "inspect", "--format", "{{.Size}}", stack.image))
    base = int(stack.docker("image", "inspect", "--format", "{{.Size}}", "python:3.13-slim", code=None) or 0)
    return f"{size / 1e6:.0f} MB, of which {base / 1e6:.0f} MB are python:3.13-slim; built in {took:.0f} s"


def all_is_healthy_from_nothing(stack: Stack) -> str:
    began = time.monotonic()
    stack.compose("up", "--detach", "--no-build", "--scale", f"worker={WORKERS}")
    returned = time.monotonic() - began
    for service, count in (("redis", 1), ("scheduler", 1), ("worker", WORKERS)):
        stack.healthy(service, count)
    healthy = time.monotonic() - began
    return (
        f"`up --scale worker={WORKERS}` returned after {returned:.1f} s, Redis, the scheduler and all workers healthy after {healthy:.1f} s"
    )


def a_release_reaches_each_worker(stack: Stack) -> str:
    stack.cli("register", "ledger.py", "-m", "first")
    file = stack.files / "ledger.py"
    file.write_text(file.read_text().replace("RELEASE = 1", "RELEASE = 2"))
    released = stack.json("register", "ledger.py", "-m", "second")
    revision = max(row["revision"] for row in released)
    for task in ("ledger", "tick"):
        stack.cli("rollout", task, "--wait")  # exit 0: each live worker has applied it
    workers = stack.json("workers")
    check(len(workers) == WORKERS, f"{len(workers)} workers report themselves")
    behind = [worker["worker"] for worker in workers if worker["revision"] < revision]
    check(not behind, f"behind revision {revision}: {behind}")
    return f"version 2, registered from a fourth container, is applied by all {WORKERS} workers (revision {revision})"


def schedules_fire(stack: Stack) -> str:
    _more_ticks(stack, 5)
    return f"a task `every=1s` has run {len(stack.lines('ticks'))} times"


def the_doctor_finds_nothing(stack: Stack) -> str:
    until(
        lambda: stack.run(*stack.words("run", "--rm", "-T", "cli", "doctor"), code=None).returncode == 0,
        20,
        lambda: stack.cli("doctor", code=None),
    )
    return f"{len(stack.json('doctor')['checks'])} checks are well"


def a_killed_worker_loses_nothing(stack: Stack) -> str:
    with _load(stack, 0, stack.runs) as acknowledged:
        _reach(stack, stack.runs // 5)
        victim = stack.containers("worker")[1]
        stack.kill(victim)
        killed = time.monotonic()
    done = _drained(stack, acknowledged)
    took = time.monotonic() - killed
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", f"worker={WORKERS}")
    stack.healthy("worker", WORKERS)
    return f"{names([victim])[0]} killed under load: {done}, {took:.0f} s after the kill; `up` has replaced the worker"


def a_crashed_worker_comes_back_by_itself(stack: Stack) -> str:
    victim = stack.containers("worker")[0]
    stack.docker("exec", victim["Id"], "sh", "-c", "kill -KILL 1")
    same = next(one for one in stack.containers("worker") if one["Id"] == victim["Id"])
    check(same["State"]["Running"] and same["RestartCount"] == victim["RestartCount"], "a task can kill the worker")
    _only_root("the crash of a container's first process")
    stack.kill(victim, crash=True)

    def restarts() -> int:
        return sum(one["RestartCount"] for one in stack.containers("worker") if one["Id"] == victim["Id"])

    until(lambda: restarts() > victim["RestartCount"], 30, lambda: "it was not started again")
    took = stack.healthy("worker", WORKERS)
    return f"from inside its container a worker can't be killed; killed from outside, it was healthy again after {took:.1f} s"


def a_killed_redis_loses_nothing(stack: Stack) -> str:
    def untouched() -> list[tuple[str, str]]:
        services = ("worker", "scheduler")
        return [(one["Id"], one["State"]["StartedAt"]) for service in services for one in stack.containers(service)]

    runs, before, crashes = stack.runs, untouched(), [False, *([True] if os.geteuid() == 0 else [])]
    with _load(stack, runs, runs) as acknowledged:
        for share, crash in enumerate(crashes, start=1):
            _reach(stack, runs + runs * share // (2 * len(crashes)))
            stack.kill(stack.containers("redis")[0], crash=crash)
            if not crash:
                stack.compose("start", "redis")
            stack.healthy("redis", 1)
    done = _drained(stack, acknowledged)
    check(untouched() == before, "a worker or the scheduler did not survive")
    again = sum(int(tries) > 1 for _, tries in acknowledged.values())
    return f"Redis killed {len(crashes)} times under load ({again} runs had to be sent again): {done}; no other container was restarted"


def a_standby_takes_over(stack: Stack) -> str:
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "scheduler=2", "--scale", f"worker={WORKERS}")
    stack.healthy("scheduler", 2)
    for victim in stack.containers("scheduler"):
        stack.kill(victim)
        _more_ticks(stack, 4)
        stack.docker("start", victim["Id"])
        stack.healthy("scheduler", 2)
    return "each of two schedulers was killed in turn, and the other one went on"


def no_slot_is_lost_or_doubled(stack: Stack) -> str:
    ticks = stack.lines("ticks")
    owners = {slot: {run for other, run in ticks if other == slot} for slot, _ in ticks}
    doubled = [slot for slot, found in owners.items() if len(found) > 1]
    check(not doubled, f"slots with several runs: {doubled}")
    slots = sorted(round(datetime.fromisoformat(slot).timestamp()) for slot in owners)
    gaps = [f"{b - a} s before {datetime.fromtimestamp(b).astimezone():%H:%M:%S}" for a, b in itertools.pairwise(slots) if b - a != 1]
    # The slot of the moment when nobody leads is late, not lost; only more than `misfire_after` (30 s) drops some.
    check(not gaps, f"slots are missing: {gaps}")
    return f"{len(slots)} slots in a row, each second one, have one run each, across all kills so far ({len(ticks)} executions)"


def the_password_is_nowhere_to_be_seen(stack: Stack) -> str:
    password = stack.compose("exec", "-T", "redis", "cat", "/run/taskq/password").strip()
    check(len(password) >= 32, "the password is short")
    ids = [one["Id"] for one in stack.containers()]
    places = {
        "docker inspect": stack.docker("inspect", *ids),
        "docker history": stack.docker("history", "--no-trunc", stack.image),
        "the logs": stack.compose("logs", "--no-color"),
        "docker compose config": stack.compose("config"),
        "docker top": "".join(stack.docker("top", name, "axww") for name in ids if _runs(stack, name)),
        "a refusal": stack.run(*stack.words("run", "--rm", "-T", "--env", "TASKQ_REDIS_URL=redis://redis:1", "cli", "list"), code=5).stderr,
    }
    places["arguments and environment of all processes"] = _processes()
    seen = [where for where, text in places.items() if password in text]
    check(not seen, f"seen in {seen}")
    return f"not in {', '.join(places)}"


def nothing_runs_as_root(stack: Stack) -> str:
    for one in stack.containers():
        if not one["State"]["Running"]:
            continue
        name = names([one])[0]
        status = stack.docker("exec", one["Id"], "cat", "/proc/1/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        check("0" not in fields["Uid"].split() + fields["Gid"].split(), f"{name} runs as root")
        check({fields["CapEff"], fields["CapBnd"]} == {"0" * 16}, f"{name} has capabilities")
        check(fields["NoNewPrivs"] == "1", f"{name} may gain privileges")
        written = stack.run("docker", "exec", one["Id"], "sh", "-c", "touch /usr/x || touch /etc/x", code=None)
        check("Read-only file system" in written.stderr, f"{name} can write its root file system")
    return "user 10001, no capability, no new privileges, read-only root file systems"


def only_this_machine_is_listened_to(stack: Stack) -> str:
    published = [
        (names([one])[0], port) for one in stack.containers() for ports in one["NetworkSettings"]["Ports"].values() for port in ports or []
    ]
    check([(name, port["HostIp"]) for name, port in published] == [("redis-1", "127.0.0.1")], f"published: {published}")
    with socket.create_connection(("127.0.0.1", stack.port), timeout=5) as client:
        client.sendall(b"PING\r\n")
        check(client.recv(100).startswith(b"-NOAUTH"), "Redis answers without a password")
    heard = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == _OPEN
    ]
    here = {place.rpartition(":")[0] for place in heard if int(place.rpartition(":")[2], 16) == stack.port}
    check(here == {"0100007F"}, f"port {stack.port} is open on {here}")
    return f"Redis alone is published, on 127.0.0.1:{stack.port} alone, and refuses to answer without the password"


def a_stop_is_clean_and_a_start_finds_everything(stack: Stack) -> str:
    password = stack.compose("exec", "-T", "redis", "cat", "/run/taskq/password")
    began = time.monotonic()
    stack.compose("stop")
    took = time.monotonic() - began
    codes = {name: one["State"]["ExitCode"] for one in stack.containers() for name in names([one])}
    check(set(codes.values()) == {0}, f"exit codes {codes}")
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "scheduler=2", "--scale", f"worker={WORKERS}")
    for service, count in (("redis", 1), ("scheduler", 2), ("worker", WORKERS)):
        stack.healthy(service, count)
    tasks = [row["task"] for row in stack.json("list")]
    check(tasks == ["ledger", "tick"], f"tasks after the start: {tasks}")
    check(stack.compose("exec", "-T", "redis", "cat", "/run/taskq/password") == password, "another password")
    return f"all {len(codes)} containers ended with exit code 0 within {took:.1f} s; after the next start tasks and password are there"


PROOFS: tuple[Callable[[Stack], str], ...] = (
    image_is_built,
    all_is_healthy_from_nothing,
    a_release_reaches_each_worker,
    schedules_fire,
    the_doctor_finds_nothing,
    a_killed_worker_loses_nothing,
    a_crashed_worker_comes_back_by_itself,
    a_killed_redis_loses_nothing,
    a_standby_takes_over,
    no_slot_is_lost_or_doubled,
    the_password_is_nowhere_to_be_seen,
    nothing_runs_as_root,
    only_this_machine_is_listened_to,
    a_stop_is_clean_and_a_start_finds_everything,
)


@contextmanager
def _load(stack: Stack, first: int, count: int) -> Iterator[dict[int, tuple[str, str]]]:
    """Enqueues during the body; afterwards the mapping holds number → (run, tries) of all that was acknowledged."""
    acknowledged: dict[int, tuple[str, str]] = {}
    process = stack.load(first, count)
    try:
        yield acknowledged
        out, err = process.communicate(timeout=300)
        check(process.returncode == 0, f"the load ended with exit code {process.returncode}\n{err[-2000:]}")
    finally:
        process.kill()
        process.wait()
    for number, run, tries in re.findall(r"^(\d+) (\S+) (\d+)$", out, re.MULTILINE):
        acknowledged[int(number)] = (run, tries)
    check(len(acknowledged) == count, f"{len(acknowledged)} of {count} runs were acknowledged")


def _drained(stack: Stack, acknowledged: dict[int, tuple[str, str]]) -> str:
    """Wait until each acknowledged run has run; says how many there were, and how many ran more than once."""

    def missing() -> set[str]:
        return {run for run, _ in acknowledged.values()} - {line[1] for line in stack.lines("ledger")}

    until(lambda: not missing(), DRAIN, lambda: f"lost: {len(missing())} runs, such as {sorted(missing())[:3]}")
    until(lambda: all(row["queued"] + row["running"] == 0 for row in stack.json("queues")), DRAIN, lambda: f"left: {stack.json('queues')}")
    numbers = Counter(int(number) for number, run, _ in stack.lines("ledger") if int(number) in acknowledged)
    other = [number for number, run, _ in stack.lines("ledger") if int(number) in acknowledged and acknowledged[int(number)][0] != run]
    check(not other, f"numbers with another run than the acknowledged one: {other[:5]}")
    old = [line for line in stack.lines("ledger") if line[2] != "2"]
    check(not old, f"runs on the old version: {old[:3]}")
    twice = sum(count > 1 for count in numbers.values())
    return f"all {len(acknowledged)} acknowledged runs ran, {twice} of them twice"


def _more_ticks(stack: Stack, count: int) -> None:
    had = len(stack.lines("ticks"))
    until(lambda: len(stack.lines("ticks")) >= had + count, 40, lambda: f"no {count} ticks more than {had}")


def _reach(stack: Stack, count: int) -> None:
    """Wait until so many runs have run, since the stack was made."""
    until(lambda: len({line[1] for line in stack.lines("ledger")}) >= count, 180, lambda: f"fewer than {count} runs have run")


def _runs(stack: Stack, container: str) -> bool:
    return any(one["Id"] == container and one["State"]["Running"] for one in stack.containers())


def _only_root(what: str) -> None:
    if os.geteuid() != 0:
        raise Skipped(f"{what} needs root")


def _processes() -> str:
    """Arguments and environment of every process of this machine that may be read, but for the tools of this proof."""
    texts = []
    for place in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                texts.append((place / name).read_bytes().decode(errors="replace"))
            except OSError:
                continue  # it has ended, or is another user's
    return "\n".join(texts)
