"""Run simtrial from a clone: ``python cli.py ...`` is the same as ``simtrial ...``."""

from simtrial.cli import main

if __name__ == "__main__":
    main()
