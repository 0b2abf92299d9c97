"""Thin shells around the pure floors: sockets, files and other programs. They decide nothing by themselves."""

__all__: list[str] = []
