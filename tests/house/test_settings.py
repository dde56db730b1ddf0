from __future__ import annotations

import pytest

from stream_server.cli import misspelt, options, read_settings
from stream_server.config import ServeSettings
from stream_server.errors import SettingsError
from tests.house import settings_page


def test_the_page_of_settings_is_current() -> None:
    assert settings_page.PAGE.read_text("utf-8") == settings_page.page(), "run python -m tests.house.settings_page"


def test_every_setting_says_what_it_is() -> None:
    assert [option.flag for option in options() if not option.field.description] == []


def test_nothing_given_is_the_defaults() -> None:
    assert read_settings({}, {}) == ServeSettings()


def test_flags_win_over_the_environment() -> None:
    environment = {"STREAM_SERVER_PORT": "1", "STREAM_SERVER_DOORS": "3", "STREAM_SERVER_LIMITS_IDLE_TIMEOUT_S": "7"}
    settings = read_settings({"port": "2", "session__end_silence_ms": "500"}, environment)
    assert (settings.port, settings.doors) == (2, 3)
    assert (settings.session.end_silence_ms, settings.limits.idle_timeout_s) == (500, 7.0)


def test_a_misspelt_variable_is_remarked_upon_and_anothers_is_not() -> None:
    environment = {"STREAM_SERVER_TSL": "auto", "STREAM_SERVER_PORT": "1", "STREAM_SERVER_SERVICE_HOST": "x"}
    remarks = list(misspelt(environment))
    assert remarks == ["the variable STREAM_SERVER_TSL is no setting and is ignored; did you mean STREAM_SERVER_TLS?"]


def test_windows_are_separated_by_spaces_in_the_environment() -> None:
    assert read_settings({}, {"STREAM_SERVER_WINDOWS": "0,4,4 0,2,2,4,1"}).windows == ("0,4,4", "0,2,2,4,1")


@pytest.mark.parametrize(("given", "environment", "message"), [
    ({"port": "99999"}, {}, "--port '99999': Input should be less than or equal to 65535"),
    ({}, {"STREAM_SERVER_PORT": "x"}, "STREAM_SERVER_PORT 'x': Input should be a valid integer"),
    ({"session__vad": "loud"}, {}, "--session-vad 'loud': Input should be 'webrtc', 'fsmn', 'silero' or 'none'"),
    ({"certfile": "a.pem"}, {}, "certfile and keyfile go together"),
    ({"windows": ["10,5"]}, {}, "--windows '10,5': needed 0,HOP,LOOK_AHEAD in frames of 60 ms"),
])
def test_a_wrong_setting_is_told_in_one_line(given: dict, environment: dict, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(given, environment)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
