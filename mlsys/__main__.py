"""`python -m mlsys` is the same as `mlsys`."""

from mlsys.cli.main import main

if __name__ == "__main__":
    main()
