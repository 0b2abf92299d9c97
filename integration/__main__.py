"""`python -m integration [pytest arguments]`: every scenario, on a real Postfix, in a namespace of their own."""

import sys
import tempfile
from pathlib import Path

from lab.namespace import enter, inside, obstacle
from lab.postfix import installed

__all__ = ["main"]

_HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """pytest's own exit status; 1 with a sentence where the scenarios cannot run."""
    reason = obstacle() if not inside() else None
    if reason is None and not installed():
        reason = "Postfix is not installed; `scripts/setup` installs it."
    if reason:
        print(f"error: the scenarios cannot run: {reason}", file=sys.stderr)
        return 1
    # A path that exists is a choice of scenarios; any other word belongs to an option such as `-k WORD`.
    chosen = (
        arguments if any(Path(word.partition("::")[0]).exists() for word in arguments) else [str(_HERE), *arguments]
    )
    with tempfile.TemporaryDirectory(prefix="omicard-integration-") as folder:
        return enter(
            ["pytest", "-p", "no:cacheprovider", "--timeout", "600", "--durations", "0", *chosen], Path(folder)
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
