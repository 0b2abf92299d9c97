"""The plot of `simulate --plot`: by when how many mails were delivered, and the blocked IP-hours, a colour a policy.

matplotlib is an optional dependency (`omicard-relay[plot]`), loaded only here. Words are English: its fonts have no Chinese.
The same results give the same file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omicard_relay.mail import RelayError, TableError
from omicard_relay.steering.simulation import Result

__all__ = ["drawing"]

#: The shortest time that is drawn, in seconds; the axis is logarithmic.
_LEAST = 0.5
_TICKS = {
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    6 * 3600: "6 h",
    86_400: "1 d",
    5 * 86_400: "5 d",
}


def drawing() -> Callable[[list[Result], Path], None]:
    """The function that draws results into a file. Raises RelayError where matplotlib is missing."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise RelayError("--plot needs matplotlib; install it with: pip install 'omicard-relay[plot]'") from None
    # Else an SVG has ids made by chance.
    matplotlib.rcParams["svg.hashsalt"] = "omicard-relay"

    def draw(results: list[Result], path: Path) -> None:
        figure = Figure(figsize=(11, 4.5), layout="constrained")
        curves, bars = figure.subplots(1, 2, width_ratios=[2, 1])
        _draw_curves(curves, results)
        _draw_blocked(bars, results)
        figure.suptitle(f"{results[0].world}, seed {results[0].seed}: {results[0].recipients:,} mails")
        try:
            is_svg = path.suffix.lower() == ".svg"
            figure.savefig(path, dpi=120, metadata={"Date": None} if is_svg else {"Software": None})
        except OSError as error:
            raise TableError(f"{path}: cannot be written ({error.strerror}); choose another place.") from None

    return draw


def _draw_curves(axes: Any, results: list[Result]) -> None:
    for result in results:
        times = [max(_LEAST, time) for time in result.curve]
        axes.step(times, range(1, len(times) + 1), where="post", label=result.policy)
    axes.set_xscale("log")
    axes.set_xticks(list(_TICKS), list(_TICKS.values()))
    axes.minorticks_off()
    axes.set_ylim(0, 101)
    axes.set_xlabel("time since the mail came")
    axes.set_ylabel("delivered, % of all mails")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_blocked(axes: Any, results: list[Result]) -> None:
    names = [result.policy for result in results]
    colours = [f"C{number % 10}" for number in range(len(results))]
    axes.barh(names, [result.blocked_ip_hours for result in results], color=colours)
    axes.invert_yaxis()
    axes.set_xlabel("blocked IP-hours")
