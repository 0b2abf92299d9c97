"""One form of mail, one file, one reader; their order is in bounce/reading.py."""

__all__: list[str] = []
