"""Which version a claimed run gets, or what else becomes of it: pure."""

from __future__ import annotations

import logging

from taskq.registry import codec
from taskq.registry.code.validation import Validator
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.model.record import TaskRecord
from taskq.registry.model.spec import Spec
from taskq.registry.serializer import stored_params
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Release, Verdict

log = logging.getLogger("taskq.worker")
_NOTHING = codec.dumps({})
PARK = Release("park")
PUT_BACK = Release("back")
RETIRED = Finish("canceled", "retired", "the task was retired")


def route(record: TaskRecord | None, pin: int | None) -> int | Verdict:
    """The version to run, or a verdict.

    Args:
        record: of the task; None if it is not in the registry, or is not readable by this release: put back.
        pin: version that the run was enqueued for.
    """
    if record is None:
        return PUT_BACK
    if record.state == "paused":
        return PARK
    if record.state == "retired":
        return RETIRED
    version = pin if pin is not None else record.route.stable
    return PUT_BACK if version is None else version


def prepare(run: Run, spec: Spec, validator: Validator) -> Verdict | None:
    """Read and check the parameters of a run against the version that it got; a verdict if they don't fit it."""
    run.spec = spec
    try:
        run.blob = stored_params(run.data)
        if run.blob == _NOTHING and not validator.schema.get("required"):
            run.blob = b""
        else:
            params = codec.loads(run.blob)
            if not isinstance(params, dict):
                raise FormatUnknown("the run's parameters are not a mapping")
            run.params = validator.check(params)
    except FormatUnknown as error:
        log.warning("run %s is put back: %s", run.id, error, extra=run.about)
        return PUT_BACK
    except InvalidInput as error:
        return Finish("failed", "invalid_parameters", str(error))
    run.data = b""
    return None


def routed_versions(record: TaskRecord | None) -> set[int]:
    """The versions that must be loaded ahead of their first use."""
    if record is None or record.state == "retired":
        return set()
    return {version for version in (record.route.stable, record.route.staged) if version is not None}
