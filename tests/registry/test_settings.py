"""What a wrong setting is told."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.registry.errors import InvalidInput
from taskq.registry.settings import Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lese": 3}, "there is no setting lese; did you mean lease?"),
        ({"qqqq": 3}, "there is no setting qqqq"),
        ({"lease": "soon"}, "lease (TASKQ_LEASE): Input should be a valid number, unable to parse string as a number (given: 'soon')"),
    ],
)
def test_a_setting_that_is_none_or_wrong_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.load({}, **given)
    assert str(caught.value) == message
