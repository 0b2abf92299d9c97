"""Who runs a receiving server: by the table of MX names, else the registered domain of the host, else of the recipient.

What is learned of one customer of a provider holds for the others; a server of its own is its own provider.
Public suffixes are those of publicsuffixlist; private ones (of hosters) count, so that neighbours are not mixed.
"""

from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from omicard_relay.tables.providers import ProviderBook

__all__ = ["provider_of"]

#: An address in brackets or a name without dot says nothing about who runs it.
_LONGEST_NAME = 253


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@lru_cache(maxsize=65_536)
def _registered(name: str) -> str:
    """The registered domain of a name, lower case; the name itself where it has none."""
    labels = name.split(".")
    # At most ten labels are looked at: no public suffix is longer, and a name may have 127.
    return _suffixes().privatesuffix(".".join(labels[-10:])) or name


def provider_of(host: str, domain: str, book: ProviderBook) -> str:
    """The provider behind an MX host; `domain` is the recipient's, used where no host is known."""
    name = host.strip().rstrip(".").lower()[:_LONGEST_NAME]
    # A server that is known by its address alone, or by a name without dot, tells nothing.
    if name and "." in name and not name.startswith("[") and not name.replace(".", "").isdigit():
        return book.named(name) or _registered(name)
    return _registered(domain.strip().rstrip(".").lower()[:_LONGEST_NAME])
