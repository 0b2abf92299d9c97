"""What is taken out before sending: bad syntax, duplicates, unsubscribed, blacklisted, known bounces. Pure.

docs/configuration.md tells the settings; `scrub` judges one recipient, `smtp_reply` words a refusal.
"""

from omicard_relay.scrub.candidate import Candidate, Drop, ScrubOutcome
from omicard_relay.scrub.pipeline import scrub
from omicard_relay.scrub.reply import smtp_reply
from omicard_relay.scrub.steps import STEPS, Step
from omicard_relay.scrub.syntax import syntax_fault

__all__ = ["STEPS", "Candidate", "Drop", "ScrubOutcome", "Step", "scrub", "smtp_reply", "syntax_fault"]
