"""Create an API key: print it once and append its hash to a file.

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
from serve.http.auth import SCOPES, hash_key, read_keys


def add_key(path: Path, name: str, scope: str) -> str:
    """Create a key, append its hash to a file that only its owner can read, and return the key.

    Raises
    ------
    ServeError
        If the name is in use or contains a space, or the file is malformed.
    """
    if not name.strip() or name.split() != [name] or name.startswith("#"):
        raise ServeError(f"Invalid key name {name!r}: use letters, digits, - and _.")
    names = {key.name for key in read_keys(path)} if path.exists() and path.stat().st_size else set()
    if name in names:
        raise ServeError(f"{path} already has a key named {name}: choose another name, or delete its line first.")
    secret = secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(f"{name} {scope} {hash_key(secret)}\n")
    return secret


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serve.keys",
        description="Create an API key. The key is printed once; the file stores its hash.",
        epilog="example: python -m serve.keys crm --scope score --file keys.txt",
    )
    parser.add_argument("name", help="name of the client; used in logs and for rate limits")
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        default="score",
        help="score: predictions and read access; admin: may also reload the model (default: score)",
    )
    parser.add_argument("--file", type=Path, default=Path("keys.txt"), help="file of hashed keys (default: keys.txt)")
    options = parser.parse_args()
    try:
        secret = add_key(options.file, options.name, options.scope)
    except ServeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stderr.write(f"Added {options.name} ({options.scope}) to {options.file}. The key, shown only once:\n")
    sys.stdout.write(f"{secret}\n")


if __name__ == "__main__":
    main()
