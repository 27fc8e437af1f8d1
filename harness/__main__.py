"""python -m harness: the concord command."""

from harness.cli import main

if __name__ == "__main__":
    main()
