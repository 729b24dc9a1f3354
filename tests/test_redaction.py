import pytest

from mlsys.redaction import without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://ann:s3cret@db:5432/crm", "postgres://ann:***@db:5432/crm"),
        ("redis://:s3cret@db", "redis://:***@db"),
        ("postgres://ann:s3@cret@db/crm", "postgres://ann:***@db/crm"),
        ("postgres://ann:s3/cret@db/crm", "postgres://ann:***@db/crm"),
        ("postgres://ann:s3?c#ret@db/crm", "postgres://ann:***@db/crm"),
        ("postgres://ann:@db/crm", "postgres://ann:***@db/crm"),
        ("postgresql://db/crm?user=ann&password=s3cret&sslmode=require",
         "postgresql://db/crm?user=ann&password=***&sslmode=require"),
        ("postgresql://db/crm?sslpassword=s3cret", "postgresql://db/crm?sslpassword=***"),
        ("https://host/mlflow?API_KEY=s3cret#top", "https://host/mlflow?API_KEY=***#top"),
        ("https://host/a?Token=s3cret&sig=s3cret", "https://host/a?Token=***&sig=***"),
        ("https://host/a?password=s3'cret", "https://host/a?password=***"),
        ("uri: 'https://host/a?key=s3cret'\nnext: 1", "uri: 'https://host/a?key=***'\nnext: 1"),
        ('["x://a:s3cret@b?token=s3cret", "y://c:s3cret@d"]', '["x://a:***@b?token=***", "y://c:***@d"]'),
        ("x://a:s3cret@b, y://c:s3cret@d", "x://a:***@b, y://c:***@d"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_nothing_else(text, shown):
    assert without_password(text) == shown
    assert without_password(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "duckdb:///data/crm.db?read_only=true",
        "postgresql://ann@db:5432/crm?host=/tmp&sslkey=/etc/key.pem&passfile=/etc/pgpass&authenticator=browser",
        "https://host:5000/path and ann@example.com",
        "model.max_tokens=5 data.key=id a:b@c",
    ],
)
def test_what_is_no_secret_stays(text):
    assert without_password(text) == text
