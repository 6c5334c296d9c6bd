"""`python -m rifle_ext`: the same as the command `rifle-ext`."""

from rifle_ext.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
