"""The command line beats the environment, which beats the defaults; mistakes are said all at once."""

import pytest

from serve.errors import ServeError
from serve.settings import settings_from


def test_the_command_line_beats_the_environment():
    environment = {"MLSYS_SERVE__PORT": "9000", "MLSYS_SERVE__WORKERS": "2", "MLSYS_SERVE__RUN": "latest", "HOME": "/"}
    settings = settings_from(["--port", "9100"], environment)
    assert (settings.run, settings.port, settings.workers, settings.host) == ("latest", 9100, 2, "127.0.0.1")


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("ACCESS_LOG", "false", "access_log", False),
        ("FOLLOW", "true", "follow", True),
        ("MAX_BODY_MB", "1.5", "max_body", 1_500_000),
        ("LOG_URL", "none", "prediction_log", None),
        (
            "CORS_ORIGIN",
            "https://a.example, https://b.example",
            "cors_origin",
            ("https://a.example", "https://b.example"),
        ),
        ("KEYS", __file__, "keys", __file__),
    ],
)
def test_variables_have_the_types_of_their_options(variable, value, name, expected):
    settings = settings_from(["registry:conversion"], {f"MLSYS_SERVE__{variable}": value})
    assert getattr(settings, name) == expected


def test_flags_have_both_forms():
    given = ["latest", "--no-access-log", "--insecure", "--host", "0.0.0.0", "--cors-origin", "https://a.example"]
    settings = settings_from(given, {})
    assert (settings.access_log, settings.insecure, settings.loopback) == (False, True, False)
    assert settings.cors_origin == ("https://a.example",)


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {}, "Nothing to serve"),
        (["latest"], {"MLSYS_SERVE__PROT": "1"}, "MLSYS_SERVE__PORT"),
        (["latest"], {"MLSYS_SERVE__PORT": "many"}, "takes a number"),
        (["latest"], {"MLSYS_SERVE__FOLLOW": "perhaps"}, "true or false"),
        (["latest", "--follow"], {}, "--follow needs an alias"),
        (["registry:conversion@1.2.0", "--follow"], {}, "--follow needs an alias"),
        (["latest", "--host", "0.0.0.0"], {}, "--insecure"),
        (["latest", "--host", "example.com"], {}, "--insecure"),
        (["latest", "--keys", "nowhere.txt"], {}, "no file nowhere.txt"),
    ],
)
def test_mistakes_are_said(arguments, environment, says):
    with pytest.raises(ServeError, match=says):
        settings_from(arguments, environment)


def test_all_values_out_of_range_are_said_at_once():
    with pytest.raises(ServeError) as caught:
        settings_from(["latest", "--workers", "0", "--port", "99999", "--rate", "-1", "--log-level", "loud"], {})
    for name in ("--workers", "--port", "--rate", "--log-level"):
        assert name in str(caught.value)


@pytest.mark.parametrize("arguments", [["latest", "--prot", "1"], ["latest", "--port", "many"]])
def test_a_wrong_command_line_ends_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        settings_from(arguments, {})
    assert "python -m serve --help" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    assert settings_from(["latest", "--host", host], {}).loopback
