"""Alerts: figures beyond their threshold by more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Thresholds:
    """Holds the thresholds of alerts; 0 never raises one."""

    psi: float = 0.25  # the score drift of a window is above it, and above that of chance with so many rows
    fidelity: float = 0.0  # the upper end of a window's interval of agreement with the teacher is below it
    new_tokens: float = 0.0  # the share of a window's tokens that the reference lacks is above it
    broken: float = 0.01  # the share of records that could not be read is above it
    skew: float = 1e-3  # a logged score is further than this from the model's own
    rows: int = 200  # least rows of a window that can raise alerts


def alerts(result: Mapping[str, Any], limits: Thresholds) -> list[dict[str, Any]]:
    """Returns alerts as `{"what", "where", "value", "threshold", "text"}`, the whole log's first, then window by window."""
    raised: list[dict[str, Any]] = []

    def alert(what: str, where: str, value: float, text: str) -> None:
        limit = getattr(limits, what)
        raised.append({"what": what, "where": where, "value": value, "threshold": limit, "text": f"{where}: {text}"})

    logs = result["logs"]
    broken = sum(logs["broken"].values())
    share = broken / max(broken + logs["records"], 1)
    if limits.broken and share > limits.broken:
        alert("broken", "log", share, f"{broken:,} records could not be read, {share:.1%} of all")
    skew = result["skew"]["largest"]
    if limits.skew and skew is not None and skew > limits.skew:
        alert("skew", "log", skew, f"a logged score is {skew:.4f} from what the model itself gives")
    for window in result["windows"]:
        if window["rows"] < limits.rows:
            continue
        where, psi, new = window["time"], window["psi"], window["new"]
        if limits.psi and psi is not None and psi > max(limits.psi, window["chance95"]):
            alert("psi", where, psi, f"score drift {psi:.2f} (chance: {window['chance95']:.2f})")
        tokens = new["1"]["share"] if new else None
        if limits.new_tokens and tokens is not None and tokens > limits.new_tokens:
            alert("new_tokens", where, tokens, f"{tokens:.1%} of the tokens are new")
    compared = [("log", result["fidelity"]["overall"])] if result["fidelity"] else []
    compared += [(window["time"], window["fidelity"]) for window in result["windows"] if "fidelity" in window]
    for where, figures in compared:
        value, ends = figures["agreement"]["value"], figures["agreement"]["ci95"]
        if limits.fidelity and ends and ends[1] < limits.fidelity:
            alert("fidelity", where, value, f"decides as the teacher on {value:.1%} (at most {ends[1]:.1%})")
    return raised
