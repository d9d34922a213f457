"""Jobs of a team that uses RQ: importable functions, as `tests.worker.foreign` enqueues them. They import nothing of taskq."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from rq import Retry, get_current_job
from support.waiting import until


def add(a, b=1):
    return a + b


async def add_later(a, b=1):
    await asyncio.sleep(0)
    return a + b


def fail(message="boom"):
    raise ValueError(message)


def fail_until(key, times):
    """Fails so many times, then tells how often it was called."""
    calls = get_current_job().connection.incr(key)
    if calls <= times:
        raise ValueError(f"call {calls}")
    return calls


def ask_for_retry(key, times):
    calls = get_current_job().connection.incr(key)
    return Retry(max=5) if calls <= times else calls


def note(key, text):
    """Appends to a list in Redis."""
    get_current_job().connection.rpush(key, text)
    return text


def process():
    return os.getpid()


def surroundings():
    job = get_current_job()
    return {"worker": os.environ["RQ_WORKER_ID"], "job": os.environ["RQ_JOB_ID"], "current": job.id, "attempt_of": job.worker_name}


def keep_meta(progress):
    job = get_current_job()
    job.meta["progress"] = progress
    job.save_meta()


def opaque():
    return lambda: None


def hold(key, seconds=60.0):
    """Says that it has begun, and sleeps."""
    get_current_job().connection.set(key, os.getpid())
    threading.Event().wait(seconds)


def hold_back(key, go, seconds=60.0):
    """Says that it has begun, and waits until it is told to go on."""
    connection = get_current_job().connection
    connection.set(key, os.getpid())
    until(lambda: connection.exists(go), seconds, what="the word to go on")
    return "went on"


def hold_stubbornly(key):
    """Swallows the exception of its timeout."""
    while True:
        try:
            hold(key)
        except Exception:  # noqa: BLE001  # that is what it is for
            continue


def hold_with_children(key):
    """Has a child, and one that has left the process group and session."""
    sleep = [sys.executable, "-c", "import threading; threading.Event().wait(600)"]
    children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
    connection = get_current_job().connection
    connection.rpush(key, os.getpid(), *(child.pid for child in children))
    threading.Event().wait(60)


def leave_child():
    """Leaves a child that nobody waits for, and which ends soon."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.returncode = 0  # so that `subprocess` does not warn of it
    return child.pid


def kill_itself(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    threading.Event().wait(60)


def leave(code):
    os._exit(code)


def fork_and_return():
    """Both of the processes return from it."""
    return os.fork() and "parent"


def close_all():
    os.closerange(3, 256)
    return "closed"


def close_all_and_fail(key):
    os.closerange(3, 256)
    fail_until(key, 99)


def close_output():
    sys.stdout.close()


def say(text):
    print(text, flush=True)
    return text


def wait_for_file(begun, go):
    """Waits without Redis."""
    Path(begun).touch()
    until(Path(go).exists, 60, what="the word to go on")
    return "went on"


def leave_orphans(count):
    """Leaves processes whose parent is gone."""
    for _ in range(count):
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            os.fork()
            os._exit(0)


def spoil():
    """Changes what a process has but one of: environment, folder, handlers, signal mask, umask, streams, path of imports."""
    os.environ["SPOILT"] = "yes"
    os.environ.pop("HOME", None)
    os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
    os.umask(0o777)
    sys.path.insert(0, "/nowhere")
    sys.stdout = None


def look():
    return {
        "spoilt": os.environ.get("SPOILT"),
        "home": "HOME" in os.environ,
        "folder": str(Path.cwd()),
        "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "child": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "umask": [os.umask(0o22), os.umask(0o22)][0],
        "path": sys.path[0],
        "stdout": sys.stdout is not None,
    }


def length(data):
    return len(data)


# -- callbacks and handlers ------------------------------------------------------------------------------------
def on_success(job, connection, result):
    connection.rpush("callbacks", f"success {result}")


def on_failure(job, connection, kind, value, traceback):
    connection.rpush("callbacks", f"failure {kind.__name__} {value}")


def on_stopped(job, connection):
    connection.rpush("callbacks", f"stopped {os.getpid()}")


def on_any(job, connection, *rest):
    raise RuntimeError("the callback itself")


def on_stopped_die(job, connection):
    os._exit(3)


def handle_first(job, kind, value, traceback):
    job.connection.rpush("handlers", f"first {kind.__name__} {value}")
    return job.meta.get("go_on", True)


def handle_second(job, kind, value, traceback):
    job.connection.rpush("handlers", "second")
