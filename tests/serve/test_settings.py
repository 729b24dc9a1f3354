"""The command line takes precedence over variables, and these over defaults; all errors are reported at once."""

import pytest

from serve.errors import ServeError
from serve.settings import parse_settings


def test_the_command_line_takes_precedence_over_variables():
    environment = {"MLSYS_SERVE__PORT": "9000", "MLSYS_SERVE__WORKERS": "2", "MLSYS_SERVE__RUN": "latest", "HOME": "/"}
    settings = parse_settings(["--port", "9100"], environment)
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
    settings = parse_settings(["registry:conversion"], {f"MLSYS_SERVE__{variable}": value})
    assert getattr(settings, name) == expected


def test_flags_have_both_forms():
    given = ["latest", "--no-access-log", "--insecure", "--host", "0.0.0.0", "--cors-origin", "https://a.example"]
    settings = parse_settings(given, {})
    assert (settings.access_log, settings.insecure, settings.loopback) == (False, True, False)
    assert settings.cors_origin == ("https://a.example",)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "RUN is missing"),
        (["latest"], {"MLSYS_SERVE__PROT": "1"}, "MLSYS_SERVE__PORT"),
        (["latest"], {"MLSYS_SERVE__PORT": "many"}, "expected a number"),
        (["latest"], {"MLSYS_SERVE__FOLLOW": "perhaps"}, "true or false"),
        (["latest", "--follow"], {}, "--follow needs a registry alias"),
        (["registry:conversion@1.2.0", "--follow"], {}, "--follow needs a registry alias"),
        (["latest", "--host", "0.0.0.0"], {}, "--insecure"),
        (["latest", "--host", "example.com"], {}, "--insecure"),
        (["latest", "--keys", "nowhere.txt"], {}, "file not found: nowhere.txt"),
        (["latest", "--allowed-hosts", "http://a.example"], {}, "'http://a.example' is not a name"),
        (["latest"], {"MLSYS_SERVE__ALLOWED_HOSTS": "b.example, a.example:80"}, "'a.example:80' is not a name"),
    ],
)
def test_invalid_settings_are_reported(arguments, environment, message):
    with pytest.raises(ServeError, match=message):
        parse_settings(arguments, environment)


def test_all_values_out_of_range_are_reported_at_once():
    with pytest.raises(ServeError) as caught:
        parse_settings(["latest", "--workers", "0", "--port", "99999", "--rate", "-1", "--log-level", "loud"], {})
    for name in ("--workers", "--port", "--rate", "--log-level"):
        assert name in str(caught.value)


@pytest.mark.parametrize("arguments", [["latest", "--prot", "1"], ["latest", "--port", "many"]])
def test_a_usage_error_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_settings(arguments, {})
    assert "python -m serve --help" in capsys.readouterr().err


def test_allowed_hosts_are_names_and_addresses():
    names = ["a.example", "10.0.0.5", "::1", "[2001:db8::1]", "*"]
    assert parse_settings(["latest", "--allowed-hosts", *names], {}).allowed_hosts == tuple(names)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    assert parse_settings(["latest", "--host", host], {}).loopback
