"""Each metric is declared once, with its meaning; the alerts and the dashboard ask only for what there is."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import promql_parser
import pytest
import yaml

from devstack.metrics import PAGE, PLACES, Declared, declared_in, page

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
SCRAPING = DEPLOY / "prometheus" / "prometheus.yaml"
PANELS = DEPLOY / "grafana" / "course-analytics.json"

METRICS = [metric for module, _ in PLACES.values() for metric in declared_in(module)]
BY_SERIES = {series: metric for metric in METRICS for series in metric.series}
OF_PROMETHEUS = {"job", "instance", "le"}

# What is not ours: of Prometheus itself, and of Envoy, of which `make alerts` shows that they are there.
OF_OTHERS = {"up", "envoy_http_downstream_rq_xx", "envoy_http_downstream_rq_total"}
JOBS = {job["job_name"] for job in yaml.safe_load(SCRAPING.read_text())["scrape_configs"]}

# The errors of calls name their causes, as a class or where they are raised.
SOURCES = [file for program in ("ingest_server", "query_server", "shared") for file in (ROOT / program).rglob("*.py")]
CAUSES = {cause for file in SOURCES for cause in re.findall(r'\bcause ?= ?"(\w+)"', file.read_text())}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and what it is; Grafana's variables have a value."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(PANELS.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


EXPRESSIONS = [pytest.param(text, id=f"{place}-{number}") for number, (place, text) in enumerate(expressions())]


def nodes(expression: str) -> list[Any]:
    found: list[Any] = []

    def note(node: Any) -> bool:
        found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), note)
    return found


def selectors(expression: str) -> list[Any]:
    return [node for node in nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


def test_no_name_is_declared_twice() -> None:
    assert {1} == set(Counter(metric.name for metric in METRICS).values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: str(metric.name))
def test_a_metric_has_our_prefix_a_base_unit_and_a_meaning(metric: Declared) -> None:
    assert metric.name.startswith("analytics_")
    assert metric.meaning.endswith(".")
    assert not metric.name.endswith(("_ms", "_milliseconds", "_minutes", "_kb"))
    assert metric.type != "histogram" or metric.name.endswith(("_seconds", "_events"))


def test_the_page_of_metrics_is_that_of_the_declarations() -> None:
    assert page() == PAGE.read_text(), "`python -m devstack.metrics` writes it"


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_only_for_metrics_that_exist(expression: str) -> None:
    names = {selector.name for selector in selectors(expression)}
    assert names
    assert set() == names - BY_SERIES.keys() - OF_OTHERS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_selects_only_by_labels_and_values_that_exist(expression: str) -> None:
    for selector in selectors(expression):
        for matcher in selector.matchers.matchers:
            if matcher.name == "job":
                assert set() == set(matcher.value.split("|")) - JOBS
            elif selector.name not in OF_OTHERS:
                metric = BY_SERIES[selector.name]
                assert matcher.name in {*metric.labels, *OF_PROMETHEUS}
                assert set() == set(matcher.value.split("|")) - values_of(metric, matcher.name)


def labels_of(name: str) -> tuple[str, ...]:
    return BY_SERIES[name].labels if name in BY_SERIES else ()


def values_of(metric: Declared, label: str) -> set[str]:
    if label == "code":
        return {code.name for code in grpc.StatusCode}
    if label == "cause":
        return CAUSES
    return {values[metric.labels.index(label)] for values in metric.known}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_groups_only_by_labels_that_exist(expression: str) -> None:
    for node in nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            inside = {label for selector in selectors(node.prettify()) for label in labels_of(selector.name)}
            assert set() == set(node.modifier.labels) - inside - OF_PROMETHEUS


def test_every_metric_has_its_place_on_the_dashboard() -> None:
    shown = {
        BY_SERIES[selector.name].name
        for panel in json.loads(PANELS.read_text())["panels"]
        for target in panel.get("targets", ())
        for selector in selectors(target["expr"].replace("$__rate_interval", "1m"))
    }
    assert set() == {metric.name for metric in METRICS} - shown


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_guide_has_a_section_for_each_alert_and_for_nothing_else() -> None:
    sections = re.findall(r"^### (Analytics\w+)$", (DEPLOY.parent / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert sorted(rule["alert"] for rule in rules()) == sorted(sections)
