"""`python -m omicard_relay` is the same program as `omicard-relay`."""

from omicard_relay.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
