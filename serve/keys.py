"""Make an API key: prints it once and adds its hash to a file.

Examples
--------
python -m serve.keys crm --scope score --file keys.txt
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from serve.errors import ServeError
from serve.http.auth import SCOPES, hashed, read_keys


def add_key(path: Path, name: str, scope: str) -> str:
    """Add a new key to a file, which only its owner can read, and return the key itself.

    Raises
    ------
    ServeError
        If the name is taken or has a space, or the file is damaged.
    """
    if not name.strip() or name.split() != [name] or name.startswith("#"):
        raise ServeError(f"{name!r} is no name of a key: use letters, digits, - and _ .")
    taken = {key.name for key in read_keys(path)} if path.exists() and path.stat().st_size else set()
    if name in taken:
        raise ServeError(f"{path} has a key named {name} already: take another name, or delete its line first.")
    secret = secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(f"{name} {scope} {hashed(secret)}\n")
    return secret


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serve.keys",
        description="Make an API key: it is printed once, the file keeps its hash.",
        epilog="example: python -m serve.keys crm --scope score --file keys.txt",
    )
    parser.add_argument("name", help="who will use it; logs and rate limits name it")
    parser.add_argument("--scope", choices=SCOPES, default="score", help="admin may also reload the model")
    parser.add_argument("--file", type=Path, default=Path("keys.txt"), help="default: keys.txt")
    given = parser.parse_args()
    try:
        secret = add_key(given.file, given.name, given.scope)
    except ServeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stderr.write(f"Added {given.name} ({given.scope}) to {given.file}. Its key, which is shown only now:\n")
    sys.stdout.write(f"{secret}\n")


if __name__ == "__main__":
    main()
