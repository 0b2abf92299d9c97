"""What has to change in a Postfix configuration to bring snippets in, and to take them out again.

What stands there is never overwritten: lists are joined, and a whole value or service of somebody else is a refusal that
names it. Taking out puts back what stood before wherever the value is still ours; the rest is left and named.
Not here: doing it (services/attach.py).
Known limits: a list's item is ours by its text; a site that writes the very same item by hand shares it with us.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from omicard_relay.services.attachrecord import Change, Record, Target, digest_of, file_digests, our_folder
from omicard_relay.services.postconf import Postconf, PostfixError, split_items
from omicard_relay.tables.snippets import BOUNCE_SNIPPETS, Join, Parameter, ServiceOption, Snippet

__all__ = ["plan_install", "plan_removal", "services_of"]

#: `-o name=value` in an entry of master.cf, also as `-o { name = value }`.
_OPTION = r" -o (?:\{{ )?{name} ?= ?(\S*)(?: \}})?"


def plan_install(
    postconf: Postconf, snippets: Sequence[Snippet], record: Record, *, replace_foreign: bool
) -> tuple[list[Change], list[Change]]:
    """(the changes from what stands there to what should, what we once changed for these snippets and they need no more).

    Raises PostfixError that names every value of somebody else's.
    """
    main, services, files = postconf.explicit(), postconf.services(), file_digests(our_folder(postconf.folder))
    ours = {(change.target, change.name): change for change in record.changes}
    changes: list[Change] = []
    outdated: list[Change] = []
    foreign: list[str] = []

    def whole(snippet: str, target: Target, name: str, found: str | None, wanted: str) -> None:
        """Plan one value that is ours as a whole."""
        if found == wanted:
            return
        old = ours.get((target, name))
        is_ours = old is not None and found == old.after
        if found and not is_ours and not replace_foreign:
            foreign.append(f"{target.value}: `{name}` is `{found}`, and `{snippet}` needs `{wanted}`")
            return
        before = old.before if old is not None and is_ours else found
        changes.append(Change(snippet=snippet, target=target, name=name, before=before, after=wanted))

    for snippet in snippets:
        for service in snippet.services:
            whole(snippet.name, Target.MASTER, service.name, services.get(service.name), service.entry)
            taken = [name for name in services if _same_port(name, service.name) and (Target.MASTER, name) not in ours]
            foreign += [f"master.cf: `{name}` listens where `{snippet.name}` needs `{service.name}`" for name in taken]
        foreign += [
            f"master.cf: `{name}` listens at {snippet.our_listener}, where our own service shall; give one another port"
            for name in services
            if snippet.our_listener and _same_port(name, f"{snippet.our_listener}/inet", or_equal=True)
        ]
        for option in snippet.options:
            for name in services_of(option, services) or [""]:
                found_option = _option_of(option, services.get(name, ""))
                if not name:
                    foreign.append(f"master.cf: there is no service that runs `{option.commands[0]}`")
                elif found_option is None:
                    old_option = ours.get((Target.MASTER, name))
                    changes.append(
                        Change(
                            snippet=snippet.name,
                            target=Target.MASTER,
                            name=name,
                            before=old_option.before if old_option is not None else services[name],
                            after=f"{services[name]} {option.words}",
                            item=option.words,
                        )
                    )
                elif found_option != option.value:
                    foreign.append(
                        f"master.cf: `{name}` has {option.name}={found_option}, and `{snippet.name}` needs {option.value}"
                    )
        for file in snippet.files:
            wanted_file = digest_of(file)
            if files.get(file.name) != wanted_file:
                # A file in our own folder: before us there was none.
                changes.append(
                    Change(snippet=snippet.name, target=Target.FILE, name=file.name, before=None, after=wanted_file)
                )
        for parameter in snippet.parameters:
            if parameter.join is Join.SET:
                whole(snippet.name, Target.MAIN, parameter.name, main.get(parameter.name), parameter.value)
            elif change := _joined(postconf, snippet.name, parameter, main, ours.get((Target.MAIN, parameter.name))):
                changes.append(change)
        if snippet.name in BOUNCE_SNIPPETS:
            foreign += _other_classes(postconf, snippet)
        wanted = {(Target.MAIN, p.name) for p in snippet.parameters} | {
            (Target.MASTER, s.name) for s in snippet.services
        }
        wanted |= {(Target.MASTER, name) for option in snippet.options for name in services_of(option, services)}
        wanted |= {(Target.FILE, f.name) for f in snippet.files}
        outdated += [c for c in record.changes if c.snippet == snippet.name and (c.target, c.name) not in wanted]
    if foreign:
        raise PostfixError(
            f"Nothing was changed, for what stands there is not ours: {'; '.join(foreign)}. Settle it by hand, or say "
            "--replace where our value shall stand instead (`remove` puts the old one back)."
        )
    return changes, outdated


def services_of(option: ServiceOption, services: dict[str, str]) -> list[str]:
    """The services of master.cf that run one of its programs."""
    return [name for name, entry in services.items() if entry.split()[7:8] and entry.split()[7] in option.commands]


def _option_of(option: ServiceOption, entry: str) -> str | None:
    """The value that the entry gives this parameter; None: it does not."""
    found = re.search(_OPTION.format(name=re.escape(option.name)), entry)
    return found[1] if found else None


def _joined(
    postconf: Postconf, snippet: str, parameter: Parameter, main: dict[str, str], old: Change | None
) -> Change | None:
    """The change that brings one item into a list, or None when it is there, or when an empty list must stay empty."""
    found = main.get(parameter.name)
    base = found if found is not None else _filled_default(postconf, parameter.name)
    items = split_items(base)
    if parameter.value in items or (
        parameter.join is Join.LAST_IF_SET and not split_items(postconf.effective(parameter.name))
    ):
        return None
    before = found
    if old is not None and old.item in items:
        after = ", ".join(parameter.value if item == old.item else item for item in items)
        before = old.before
    elif parameter.join is Join.FIRST:
        after = ", ".join((parameter.value, base) if items else (parameter.value,))
    else:
        after = ", ".join((base, parameter.value) if items else (parameter.value,))
    return Change(
        snippet=snippet, target=Target.MAIN, name=parameter.name, before=before, after=after, item=parameter.value
    )


def _filled_default(postconf: Postconf, name: str) -> str:
    """The raw default of a list, empty when it comes to nothing (`relay_domains` since compatibility_level 2)."""
    return postconf.default(name) if postconf.effective(name) else ""


def _same_port(name: str, other: str, *, or_equal: bool = False) -> bool:
    """Two inet services that cannot both listen; one and the same can, unless `or_equal`."""
    if (name == other and not or_equal) or not (name.endswith("/inet") and other.endswith("/inet")):
        return False
    (host, port), (other_host, other_port) = _host_port(name), _host_port(other)
    every = {"", "*", "0.0.0.0", "[::]"}  # noqa: S104
    return port == other_port and (host == other_host or host in every or other_host in every)


def _host_port(service: str) -> tuple[str, str]:
    host, _, port = service.removesuffix("/inet").rpartition(":")
    return host, port


def _other_classes(postconf: Postconf, snippet: Snippet) -> Iterator[str]:
    """A domain has one address class: as a local or virtual one, Postfix would look for our addresses among its mailboxes."""
    domains = {parameter.value for parameter in snippet.parameters if parameter.name == "relay_domains"}
    for name in ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains"):
        for item in split_items(postconf.effective(name)):
            if item.lower() in domains:
                yield f"main.cf: `{name}` has `{item}`, but bounces need a domain that is used for nothing else"


def plan_removal(postconf: Postconf, old: Sequence[Change]) -> tuple[list[Change], list[Change]]:
    """(the changes that take these back, those that somebody has changed since), newest first."""
    main, services, files = postconf.explicit(), postconf.services(), file_digests(our_folder(postconf.folder))
    changes: list[Change] = []
    left: list[Change] = []
    for change in reversed(old):
        found = {Target.MAIN: main, Target.MASTER: services, Target.FILE: files}[change.target].get(change.name)
        if found == change.before:
            continue
        if change.item and change.target is Target.MASTER:
            if found is None or f" {change.item} " not in f"{found} ":
                continue
            back: str | None = " ".join(found.replace(f" {change.item}", "", 1).split())
        elif change.item:
            items = split_items(found or "")
            if change.item not in items:
                continue
            rest = [item for item in items if item != change.item]
            back = _list_before(postconf, change, rest)
        elif found == change.after:
            back = change.before
        else:
            left.append(replace(change, after=found))
            continue
        changes.append(replace(change, before=found, after=back, item=""))
    still = " ".join((*_after(main, changes, Target.MAIN), *_after(services, changes, Target.MASTER)))
    kept = [c for c in changes if c.target is Target.FILE and str(our_folder(postconf.folder) / c.name) in still]
    return [change for change in changes if change not in kept], left + kept


def _list_before(postconf: Postconf, change: Change, rest: list[str]) -> str | None:
    """The list without our item: exactly as it stood, when only our item was added."""
    if rest == split_items(change.before or "") or (
        change.before is None and rest == split_items(postconf.default(change.name))
    ):
        return change.before
    return ", ".join(rest)


def _after(values: dict[str, str], changes: Sequence[Change], target: Target) -> Iterator[str]:
    """The values that will stand when the changes are done."""
    new = {change.name: change.after for change in changes if change.target is target}
    for name, value in values.items():
        yield new.get(name, value) or ""
