"""Start the command line: ``python -m simtrial``."""

from simtrial.cli import main

if __name__ == "__main__":
    main()
