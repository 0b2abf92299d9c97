"""The front door: takes mails by SMTP, scrubs, signs and tags them, and hands them to Postfix. docs/relay.md tells all."""

from omicard_relay.services.relay.service import Relay, serve_relay

__all__ = ["Relay", "serve_relay"]
