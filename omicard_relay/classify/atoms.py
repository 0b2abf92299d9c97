"""What must stand in a text for an expression to match it: plain words, found before google-re2 is asked.

An expression becomes branches (one of them must match), a branch becomes clauses (all must hold), a clause is a set of
literals (one must occur). The answer may be "perhaps" too often, never "no" wrongly: tests/classify/test_atoms.py holds
that against google-re2. Only for what phrases.py cannot write out as plain phrases.
"""

from omicard_relay.classify.expressions import Node

__all__ = ["Clauses", "clauses_of", "spread"]

#: One set of literals is a clause, clauses are a branch; an empty branch always holds.
Clauses = tuple[frozenset[str], ...]

#: Branches that one expression is spread into; above, the rest stays together (more candidates, same answer).
_MAX_BRANCHES = 64
#: A literal of one octet says next to nothing.
_SHORTEST = 2
_MOST_CLAUSES = 4
#: Ways through a branch that are told apart for its first clause.
_MOST_WAYS = 48


def clauses_of(branch: Node) -> Clauses:
    """The clauses worth asking, the most telling one first: few, and none of two octets beside a longer one."""
    clauses = _clauses(branch)
    for run in _runs(branch):
        literals = frozenset(_longest(way) for way in _ways(run))
        if len(literals) > 1 and min(map(len, literals)) >= _SHORTEST:
            clauses.append(literals)
    clauses = sorted(set(clauses), key=lambda clause: (_worth(clause), sorted(clause)), reverse=True)
    longer = [clause for clause in clauses if min(map(len, clause)) > _SHORTEST]
    return tuple((longer or clauses)[:_MOST_CLAUSES])


def _runs(branch: Node) -> list[list[Node]]:
    """The parts of a branch between its gaps and whatever else is unknown."""
    runs: list[list[Node]] = [[]]
    for part in _unnested(branch) if branch.kind == "sequence" else [branch]:
        if part.kind in ("literal", "bound", "choice"):
            runs[-1].append(part)
        else:
            runs.append([])
    return [run for run in runs if run]


def _ways(parts: list[Node]) -> list[list[Node]]:
    """A run with its first choices told apart, so that what stands before and behind one is one literal."""
    ways: list[list[Node]] = [[]]
    for number, part in enumerate(parts):
        options = [_flat(option) for option in part.parts] if part.kind == "choice" else [(part,)]
        if len(ways) * len(options) > _MOST_WAYS:
            return [[*way, *parts[number:]] for way in ways]
        ways = [[*way, *option] for way in ways for option in options]
    return ways


def _longest(way: list[Node]) -> str:
    """The longest literal of a way, choices in it left aside."""
    longest = run = ""
    for part in way:
        if part.kind in ("literal", "bound"):
            run += part.text
            if len(run) > len(longest):
                longest = run
        elif part.kind == "sequence":
            run = ""
            longest = max(longest, _longest(list(part.parts)), key=len)
        else:
            run = ""
    return longest


def spread(node: Node) -> list[Node]:
    """The node as a list of alternatives, as far as its first parts are a choice."""
    if node.kind == "choice":
        branches = [branch for part in node.parts for branch in spread(part)]
        return branches if len(branches) <= _MAX_BRANCHES else list(node.parts)
    if node.kind == "sequence":
        for index, part in enumerate(node.parts):
            if part.kind == "choice":
                before, after = node.parts[:index], node.parts[index + 1 :]
                return [_sequence((*before, *_flat(branch), *after)) for branch in spread(part)]
            if part.kind == "literal":
                break
    return [node]


def _sequence(parts: tuple[Node, ...]) -> Node:
    return Node("sequence", "".join(part.source for part in parts), parts=parts)


def _flat(node: Node) -> tuple[Node, ...]:
    return node.parts if node.kind == "sequence" else (node,)


def _clauses(node: Node) -> list[frozenset[str]]:
    """What must all hold, the most telling clause first."""
    found: list[frozenset[str]] = []
    if node.kind == "literal":
        found = [frozenset({node.text})] if len(node.text) >= _SHORTEST else []
    elif node.kind == "choice":
        best = [_best(part) for part in node.parts]
        if all(clause is not None for clause in best):
            found = [frozenset().union(*(clause for clause in best if clause is not None))]
    elif node.kind == "repeat":
        found = _clauses(node.parts[0])
    elif node.kind == "sequence":
        run = ""
        for part in (*_unnested(node), Node("opaque")):
            # A word boundary has no width: the letters on both sides stay together.
            if part.kind in ("literal", "bound"):
                run += part.text
                continue
            if len(run) >= _SHORTEST:
                found.append(frozenset({run}))
            run = ""
            found += _clauses(part)
    return sorted(found, key=_worth, reverse=True)


def _unnested(node: Node) -> list[Node]:
    return [inner for part in node.parts for inner in (_unnested(part) if part.kind == "sequence" else [part])]


def _best(node: Node) -> frozenset[str] | None:
    return next(iter(_clauses(node)), None)


def _worth(clause: frozenset[str]) -> tuple[int, int]:
    return min(map(len, clause)), -len(clause)
