"""What may break a budget, each with its reason. A reason that nothing needs any more fails its test, too."""

from __future__ import annotations

# module:function → why it is longer than 50 lines
LONG_FUNCTIONS: dict[str, str] = {}

# module:class → why it has more than 20 methods
LARGE_CLASSES = {}

# module → why it imports one of ours inside a function
LATE_IMPORTS = {
    "taskq": "the lazy face: `import taskq` must cost nothing",
    "taskq.cli.group": "the command line's table of commands",
    "taskq.registry": "lazy face of the room",
    "taskq.registry.codec": "times with zones, decimals and UUIDs need what an executor starts without; few values ask for it",
    "taskq.registry.inspection": "lazy face of the package: who describes a file must not pay for redis",
    "taskq.producer": "lazy face of the room",
    "taskq.producer.scheduler": "lazy face of the package: rq-scheduler is imported only where it is asked for",
    "taskq.testing": "lazy face of the package: its plug-in is loaded by every pytest that finds taskq installed",
    "taskq.worker": "lazy face of the room",
    "taskq.worker.foreign": "lazy face of the package: an ordinary worker shall not pay for rq",
    "taskq.worker.executor.loop": "inspection needs pydantic, and only throw-away executors inspect",
    "taskq.worker.executor.together.crew": "the loop needs asyncio, and threads their queue; few tasks ask for either",
    "taskq.worker.executor.versions": "conversion needs pydantic and coroutines need asyncio; few tasks ask for either",
}

# module → why it spells keys
SPELT_KEYS: dict[str, str] = {}

# module → why it touches the environment
ENVIRONMENT = {
    "taskq.cli.secrecy": "starts the same program again with the password in the environment instead of the arguments",
    "taskq.cli.tables": "COLUMNS is the terminal's width, no setting of ours",
    "taskq.producer.scheduler.jobs.times": "TZ is the machine's time zone, no setting of ours",
    "taskq.worker.foreign.riding": "RQ tells its jobs RQ_WORKER_ID and RQ_JOB_ID there; what a job changed is put back",
    "taskq.up.keeper": "hands its environment on to the processes that it starts",
}

# module → why it asks a clock
CLOCK = {
    "taskq.testing.clock": "moves the clock for a test, and so asks the one beneath it",
}

# module → why a test sleeps
SLEEPS = {
    "tests.acceptance.test_hot_swap": "paces the load; nothing is waited for",
    "tests.registry.test_feed": "the waiting loop of asyncio tests, with a deadline",
}

# module:class → why an exception that can leave its module is not a TaskqError
FOREIGN_ERRORS = {
    "taskq.cli.options:Failure": "how click is told the exit code and message of a TaskqError",
    "taskq.registry.authoring.retry:RetryRequested": "ends an attempt from within a task: no `except Exception` of its may catch it",
    "taskq.worker.executor.gate:TaskStopped": "stops a task from within: no `except Exception` of its may catch it",
    "taskq.worker.link.protocol:ProtocolError": "ends the process that received garbage; never reaches a user",
}
