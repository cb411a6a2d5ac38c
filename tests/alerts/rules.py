"""The alert rules as an operator has them, ready to be asked."""

from pathlib import Path
from typing import Any

import yaml

from tests.alerts.promql import Alert

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
SECONDS = {"s": 1, "m": 60, "h": 3600}


def rules() -> dict[str, Alert]:
    """Every rule by its name; each call gives new ones, none of which fires yet."""
    return {
        rule["alert"]: _alert(rule) for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    }


def _alert(rule: dict[str, Any]) -> Alert:
    hold = rule.get("for", "0s")
    return Alert(rule["alert"], rule["expr"], int(hold[:-1]) * SECONDS[hold[-1]])
