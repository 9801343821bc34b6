"""`python -m starcli` is `starcli`, also from a bare clone."""

from starcli.cli.main import main

if __name__ == "__main__":
    main()
