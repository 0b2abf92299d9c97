"""The store: the only place that knows SQL. It takes and gives plain values; no row leaves it but as one of those."""

from omicard_relay.store.engine import Store, Tx, open_store

__all__ = ["Store", "Tx", "open_store"]
