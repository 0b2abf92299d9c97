"""policies/formats/*.toml -> `Form` values: how one mail system's report is known, and where it says what.

A form is data wherever marks and captures can describe it: marks in the header and in the readable text, RE2 patterns for
the recipient and for the words about it. Patterns are read with `(?im)`: case-blind, `^` and `$` at line ends.
A site's `formats/*.toml` has the same shape; an id that stands there too replaces the shipped form.
Not here: choosing and reading by them (bounce/forms.py).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import re2
from msgspec import Meta

from omicard_relay.mail import MailKind, Stage, TableError
from omicard_relay.tables.cache import cached, digest_of
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["FLAGS", "Form", "FormExample", "When", "load_formats"]

#: Put before every pattern of a form.
FLAGS = "(?im)"
#: What a pattern may capture.
GROUPS = frozenset({"recipient", "original", "reply", "host", "status", "code", "stage"})

#: Two letters are a word in Chinese and Japanese (`退信`).
_Words = tuple[Annotated[str, Meta(min_length=2)], ...]
_Patterns = tuple[Annotated[str, Meta(min_length=3)], ...]
DsnAction = Literal["failed", "delayed", "delivered", "relayed", "expanded"]


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Marks, all case-blind literals. Each key that is given must hold, by any one of its words; `not_text` by none.

    `subject` and `sender` (From) are looked for anywhere in the field, `^` before the words says at its beginning. `header` is
    `Name` (there is such a field) or `Name: words` (its value has these words). `text`, `also_text` and `not_text` are
    looked for in the readable text with its white space folded.
    """

    subject: _Words = ()
    sender: _Words = ()
    header: _Words = ()
    text: _Words = ()
    also_text: _Words = ()
    not_text: _Words = ()


class FormExample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail in this form, written for this table; `charset` is in which its text is sent (8 bit, as it stands).

    What must be read of it, one entry a recipient: `recipients`; `originals` where told; `words`, a part of the innermost
    reply; and
    `codes`, the bounce codes that the shipped rules give. `action` is the DSN action of all.
    """

    mail: str
    charset: str = "utf-8"
    recipients: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    action: DsnAction = "failed"


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form of report.

    `begin`: the report's words begin behind the line with these words. `returned`: they end before the line with these
    words, where the returned mail follows. `recipient`: patterns, the first that is found anywhere counts; each match is one
    recipient (group `recipient`), and what follows it, down to the next match, is said about it. `reply`: patterns for the
    remote server's own words (group `reply`, else the whole match), looked for in what is said about the recipient and then,
    when the report has one recipient, in the whole. Both may also capture `original` (the address as it was sent to), `host`,
    `status`, `code` and `stage` (the SMTP command). `action` is what became of the mail; `delayed` are literals that make it
    a delay. `shared`: the reply is told once, for all recipients that have none of their own. `domain` completes a recipient
    without one, where the returned mail does not. `stage` is that of the reply where the form leaves no doubt.
    """

    id: Annotated[str, Meta(pattern="^[a-z0-9]+(?:-[a-z0-9]+)*$")]
    name: str
    source: str
    when: When
    kind: MailKind = MailKind.DSN
    begin: _Words = ()
    returned: _Words = ()
    recipient: _Patterns = ()
    reply: _Patterns = ()
    action: DsnAction = "failed"
    delayed: _Words = ()
    shared: bool = False
    domain: str = ""
    stage: Stage = Stage.UNKNOWN
    example: Annotated[tuple[FormExample, ...], Meta(min_length=1)]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    form: tuple[Form, ...] = ()


#: Files of the folder that have another shape.
_OTHERS = frozenset({"responders.toml", "notices.toml"})


def load_formats(site_dir: Path | None = None) -> tuple[Form, ...]:
    """The forms, a site's over the shipped ones; in file order, which is the order in which they are tried.

    Raises TableError: file, form, key, what to do.
    """
    paths = _files(shipped("policies", "formats"))
    digest = digest_of(part for path in paths for part in (path.name.encode(), path.read_bytes()))
    base = cached("formats", digest, tuple[Form, ...], lambda: _read(paths))
    own = _read(_files(site_dir / "formats")) if site_dir is not None else ()
    forms = {form.id: form for form in base}
    # A site's own form is tried before the shipped ones.
    return (*own, *(form for form in base if form.id not in {one.id for one in own})) if own else tuple(forms.values())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.toml") if path.name not in _OTHERS)


def _read(paths: Iterable[Path]) -> tuple[Form, ...]:
    forms: dict[str, Form] = {}
    for path in paths:
        for form in convert(read_toml(path), _File, path).form:
            if form.id in forms:
                raise TableError(f"{path}: form `{form.id}` stands twice; ids must differ.")
            _check(form, path)
            forms[form.id] = form
    return tuple(forms.values())


def _check(form: Form, path: Path) -> None:
    """What the types alone cannot say."""
    place = f"{path}: form `{form.id}`"
    when = form.when
    if not (when.subject or when.sender or when.header or when.text):
        raise TableError(f"{place}: `when` is empty; give at least one of subject, sender, header, text.")
    for key in ("recipient", "reply"):
        for pattern in getattr(form, key):
            try:
                compiled = re2.compile(FLAGS + pattern)
            except re2.error as error:
                raise TableError(f"{place}: `{key}`: {_why(error)} in {pattern!r}; RE2 syntax is allowed.") from None
            strange = set(compiled.groupindex) - GROUPS
            if strange:
                raise TableError(
                    f"{place}: `{key}`: the group `{min(strange)}` means nothing; allowed are {', '.join(sorted(GROUPS))}."
                )
            if key == "recipient" and "recipient" not in compiled.groupindex:
                raise TableError(f"{place}: `recipient`: {pattern!r} has no group (?P<recipient>…).")


def _why(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return re.sub(r"\s+", " ", text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
