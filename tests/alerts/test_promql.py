"""The evaluator of the alert rules gives what Prometheus' own documentation and tests say."""

import pytest

from tests.alerts.promql import Alert, Samples, evaluate

TARGET = {"job": "a", "instance": "x"}
X = frozenset(TARGET.items())


def scraped(*values: float | None, name: str = "m", step: float = 60) -> Samples:
    """One series, scraped once a minute from 0 on; None where its target was away."""
    samples = Samples()
    for number, value in enumerate(values):
        samples.scraped(number * step, TARGET, None if value is None else [(name, {}, value)])
    return samples


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m > 3", {X: 4.0}),
        ("m > 4", {}),
        ('m{job="b"}', {}),
        ('m{job=~"a|b",instance!="y"}', {X: 4.0}),
        ("max(m)", {frozenset(): 4.0}),
        ("sum by (job) (m) * 2", {frozenset({("job", "a")}): 8.0}),
        ("absent(m)", {}),
        ("absent(none)", {frozenset(): 1.0}),
        ("sum(none) or vector(0)", {frozenset(): 0.0}),
        ("sum(m) or vector(0)", {frozenset(): 4.0}),
        ("m + none", {}),
        ("max_over_time(m[10m])", {X: 4.0}),
        ("time() - m", {X: 116.0}),
        ("up == 0", {}),
    ],
)
def test_an_expression_gives_what_prometheus_gives(expression: str, expected: dict[object, float]) -> None:
    assert expected == evaluate(expression, scraped(0, 2, 4), 120)


def test_a_target_that_cannot_be_scraped_has_no_series_but_up() -> None:
    samples = scraped(1, 2, None)
    assert ({}, {X: 0.0}) == (evaluate("m", samples, 120), evaluate("up", samples, 120))


def test_an_increase_is_extrapolated_to_the_window_and_knows_of_restarts() -> None:
    assert 12.5 == evaluate("increase(m[5m])", scraped(10, 12.5, 15, 17.5, 20), 270)[X]
    assert 4 == evaluate("increase(m[5m])", scraped(0, 2, 0, 2), 180)[X]


def test_an_alert_fires_when_its_expression_has_held_for_long_enough() -> None:
    alert, samples = Alert("a", "m > 0", 120), scraped(0, 1, 1, 1, 0)
    assert [False, False, False, True, False] == [alert.fires(samples, number * 60) for number in range(5)]
