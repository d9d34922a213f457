"""What `@task` may be given about schedules, how a spec stores it, and what a user is told about the rest."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.registry.errors import InvalidInput
from taskq.registry.model.record import content_of
from taskq.registry.model.spec import Parameters, Spec
from taskq.registry.schedules.cron import normalised
from taskq.registry.schedules.moment import aware
from taskq.registry.schedules.schedule import schedules_of

BERLIN = ZoneInfo("Europe/Berlin")


def spec(**options: Any) -> Spec:
    return Spec.from_options("job", options)


def refusal(**options: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        spec(**options)
    message = caught.value.message
    assert message.startswith("task job: ")
    return message.removeprefix("task job: ")


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({"every": "1m30s"}, {"every": 90.0}),
        ({"every": 0.1}, {"every": 0.1}),
        ({"every": timedelta(hours=2)}, {"every": 7200.0}),
        ({"every": "366d"}, {"every": 31_622_400.0}),
        ({"cron": " 0  6 * * MON-FRI "}, {"cron": "0 6 * * MON-FRI"}),
        ({"cron": "@hourly"}, {"cron": "@hourly"}),
        ({"cron": "0 6 * * *", "timezone": "Europe/Berlin"}, {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}),
        ({"at": "2026-12-01T09:00:00+01:00"}, {"at": "2026-12-01T09:00:00+01:00"}),
        ({"at": "2026-12-01T08:00Z"}, {"at": "2026-12-01T08:00:00+00:00"}),
        ({"at": datetime(2026, 12, 1, 9, tzinfo=BERLIN)}, {"at": "2026-12-01T09:00:00+01:00"}),
        ({"at": datetime(2026, 12, 1, 9, 0, 0, 123_999, tzinfo=UTC)}, {"at": "2026-12-01T09:00:00.123+00:00"}),
        ({"at": "2026-12-01 09:00", "timezone": "Europe/Berlin"}, {"at": "2026-12-01T09:00:00+01:00", "timezone": "Europe/Berlin"}),
        ({"at": datetime(2026, 7, 1, 9), "timezone": "Europe/Berlin"}, {"at": "2026-07-01T09:00:00+02:00", "timezone": "Europe/Berlin"}),  # noqa: DTZ001  # a naive one is meant
        # What the clock shows twice is the first, unless a datetime says the second.
        ({"at": "2026-10-25T02:30", "timezone": "Europe/Berlin"}, {"at": "2026-10-25T02:30:00+02:00", "timezone": "Europe/Berlin"}),
        (
            {"at": datetime(2026, 10, 25, 2, 30, fold=1), "timezone": "Europe/Berlin"},  # noqa: DTZ001  # a naive one is meant
            {"at": "2026-10-25T02:30:00+01:00", "timezone": "Europe/Berlin"},
        ),
        # A cron needs the zone; an aware moment beside it has its own.
        (
            {"cron": "0 6 * * *", "at": "2026-12-01T08:00Z", "timezone": "Europe/Berlin"},
            {"cron": "0 6 * * *", "at": "2026-12-01T08:00:00+00:00", "timezone": "Europe/Berlin"},
        ),
        ({"every": 1, "misfire": "all", "overlap": "skip"}, {"every": 1.0, "misfire": "all", "overlap": "skip"}),
        ({"every": None, "cron": None, "at": None, "timezone": None, "misfire": "once", "overlap": "allow"}, {}),
    ],
)
def test_a_spec_stores_schedules_in_one_form(options: dict[str, Any], stored: dict[str, Any]) -> None:
    made = spec(**options)
    assert made.model_dump(exclude_defaults=True) == stored
    assert Spec.load(made.dump()) == made


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"every": "soon"}, "every: 'soon' is not a duration: write seconds, or text like '30s', '1m30s', '2h'"),
        ({"every": True}, "every: True is not a duration"),
        ({"every": 0}, "every 0 is not allowed: at least 0.1 s, at most 366 days"),
        ({"every": "99ms"}, "every '99ms' is not allowed: at least 0.1 s"),
        ({"every": timedelta(days=367)}, "every datetime.timedelta(days=367) is not allowed: at least 0.1 s, at most 366 days"),
        ({"every": 1 / 3}, "every 0.3333333333333333 is not allowed: it is no whole number of milliseconds"),
        (
            {"cron": 5},
            "cron 5 is no text: allowed are 5 fields (minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-7) or one of @hourly",
        ),
        ({"cron": ""}, "cron '' is not allowed: allowed are 5 fields"),
        ({"cron": "* * * * * *"}, "cron '* * * * * *' is not allowed: allowed are 5 fields"),
        ({"cron": "@reboot"}, "cron '@reboot' is not allowed: allowed are 5 fields"),
        ({"cron": "* " * 500}, f"cron {'* ' * 100 + '…'!r} is not allowed: allowed are 5 fields"),
        ({"cron": "٥ * * * *"}, "cron '٥ * * * *' is not allowed: allowed are 5 fields"),
        ({"cron": "61 * * * *"}, "cron '61 * * * *' is not allowed: '61' is no minute; allowed are 5 fields"),
        ({"cron": "0 24 * * *"}, "cron '0 24 * * *' is not allowed: '24' is no hour"),
        ({"cron": "0 0 0 * *"}, "cron '0 0 0 * *' is not allowed: '0' is no day"),
        ({"cron": "0 0 * 13 *"}, "cron '0 0 * 13 *' is not allowed: '13' is no month"),
        ({"cron": "0 0 * * 1#9"}, "cron '0 0 * * 1#9' is not allowed: '1#9' is no weekday"),
        ({"cron": "*/0 * * * *"}, "cron '*/0 * * * *' is not allowed: '*/0' is no minute"),
        ({"cron": "0 5-5 * * *"}, "cron '0 5-5 * * *' is not allowed: '5-5' is no range, write '5'"),
        ({"cron": "H * * * *"}, "cron 'H * * * *' is not allowed: 'h' would be another time for each who reads it"),
        ({"cron": "0 0 30 2 *"}, "cron '0 0 30 2 *' never comes: no month of it has such a day"),
        ({"cron": "0 0 31 4,6 *"}, "cron '0 0 31 4,6 *' never comes"),
        ({"cron": "0 6 * * *", "timezone": "Mars/Base"}, "timezone 'Mars/Base' is not known: allowed are IANA names, like 'UTC'"),
        ({"cron": "0 6 * * *", "timezone": "Europe"}, "timezone 'Europe' is not known"),
        ({"cron": "0 6 * * *", "timezone": "../etc/passwd"}, "timezone '../etc/passwd' is not known"),
        ({"cron": "0 6 * * *", "timezone": ""}, "timezone '' is not known"),
        ({"cron": "0 6 * * *", "timezone": 1}, "timezone 1 is no text"),
        ({"timezone": "Europe/Berlin"}, "timezone 'Europe/Berlin' has no meaning without cron or at: leave it out"),
        ({"every": 1, "timezone": "UTC"}, "timezone 'UTC' has no meaning without cron or at"),
        (
            {"at": "2026-12-01T09:00Z", "timezone": "UTC"},
            "timezone 'UTC' has no meaning for at='2026-12-01T09:00Z', which has a zone of its own",
        ),
        (
            {"at": "2026-12-01T09:00"},
            "at: '2026-12-01T09:00' has no time zone: write one, like '2026-12-01T09:00:00+01:00', or name a timezone",
        ),
        ({"at": datetime(2026, 12, 1)}, "at: datetime.datetime(2026, 12, 1, 0, 0) has no time zone"),  # noqa: DTZ001  # a naive one is meant
        (
            {"at": "2026-03-29T02:30", "timezone": "Europe/Berlin"},
            "at: 2026-03-29T02:30:00 does not exist in Europe/Berlin: the clocks are moved",
        ),
        ({"at": "tomorrow"}, "at: 'tomorrow' is no moment: write a datetime with a time zone, or ISO 8601 text"),
        ({"at": 5, "timezone": "UTC"}, "at: 5 is no moment"),
        ({"at": "9999-12-31T23:59-01:00"}, "at: '9999-12-31T23:59-01:00' is not allowed: in UTC it is not in the years 1 to 9999"),
        ({"every": 1, "misfire": "never"}, "misfire 'never' is not allowed: allowed are 'once', 'skip', 'all'"),
        ({"every": 1, "overlap": ["skip"]}, "overlap ['skip'] is not allowed: allowed are 'allow', 'skip'"),
    ],
)
def test_what_is_not_allowed_is_named_with_what_is(options: dict[str, Any], told: str) -> None:
    assert refusal(**options).startswith(told)


@pytest.mark.parametrize("options", [{"every": 1}, {"cron": "@daily"}, {"at": "2026-12-01T09:00Z"}])
def test_a_task_that_needs_parameters_can_have_no_schedule(options: dict[str, Any]) -> None:
    needing = Parameters(json_schema={"type": "object", "required": ["region", "day"]})
    with pytest.raises(InvalidInput, match="a run of its schedule passes no parameters, but region, day must be given: add a default"):
        Spec.from_options("job", options, parameters=needing)
    assert Spec.from_options("job", {}, parameters=needing).parameters == needing


@given(st.text(st.sampled_from("0123456789*/,-#lLwWhr? @monthlyjasunf"), max_size=24) | st.text(max_size=12))
def test_any_text_is_a_cron_expression_or_refused(text: str) -> None:
    try:
        accepted = normalised(text)
    except InvalidInput as error:
        assert re.match(r"(?s)cron .* (is not allowed|never comes)", error.message)
    else:
        (schedule,) = schedules_of(Spec(cron=accepted))
        assert schedule.next_after(0) is not None


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),  # noqa: DTZ001  # hypothesis takes naive limits
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "Africa/Monrovia"]),
)
def test_a_moment_survives_being_stored(moment: datetime, zone: str) -> None:
    try:
        meant = aware(moment, zone)
    except InvalidInput as error:
        assert "does not exist" in error.message
        return
    (schedule,) = schedules_of(spec(at=moment, timezone=zone))
    slot = schedule.next_after(-(10**15))
    assert slot is not None
    assert slot * 1000 == (meant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_a_schedule_is_content_and_a_field_that_nobody_set_is_not() -> None:
    class Later(Spec):
        brand_new: int = 7

    def content(spec: Spec) -> str:
        return content_of("digest", "job", spec)

    assert content(spec(every="30s")) != content(spec(every="10s"))
    assert content(spec(every="30s")) == content(spec(every=30.0, misfire="once"))
    assert content(Later(every=30.0)) == content(spec(every=30))
    assert content(Later(every=30.0, brand_new=8)) != content(spec(every=30))
