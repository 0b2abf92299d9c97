"""The kind of a mail, such as marketing or transactional, by which list entries may hold (`kind:marketing`). Pure.

The mail's own header says it; else the campaign's name does, by the patterns of the settings; else whether there is a
campaign at all. A header that names no kind is passed over, for a client's typo must not hold a mail up.
"""

from fnmatch import fnmatchcase

from omicard_relay.tables.settings import CampaignSettings, is_kind

__all__ = ["kind_of"]


def kind_of(campaign: str | None, told: str | None, settings: CampaignSettings) -> str:
    """The kind of a mail of this campaign (None: of none) whose header told this (None: it has no such header)."""
    own = (told or "").strip().lower()
    if is_kind(own):
        return own
    if campaign is None:
        return settings.kind_without
    name = campaign.lower()
    fitting = (kind for pattern, kind in settings.kinds if fnmatchcase(name, pattern.lower()))
    return next(fitting, settings.default_kind)
