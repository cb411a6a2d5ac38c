"""What the rules make of series as the programs write them; `make alerts` provokes them with real programs."""

from collections.abc import Callable, Iterable

import pytest

from tests.alerts.promql import Sample, Samples
from tests.alerts.rules import rules

STEP = 15.0
INTERVAL: Sample = ("analytics_flush_interval_seconds", {}, 300.0)

Scrape = Iterable[Sample] | None


def last_cycle(at: float) -> list[Sample]:
    return [INTERVAL, ("analytics_flush_last_cycle_timestamp_seconds", {}, at)]


def refused(count: float, *, code: str = "UNAVAILABLE", cause: str = "redis") -> list[Sample]:
    labels = {"method": "TrackTelemetry", "code": code, "cause": cause}
    return [("analytics_calls_refused_total", labels, count)]


def fired(name: str, job: str, seconds: float, scrape: Callable[[float], Scrape]) -> list[bool]:
    """Whether a rule fired, at each scrape of one target of a job."""
    rule, samples = rules()[name], Samples()
    answers = []
    for number in range(int(seconds / STEP)):
        at = 100_000 + number * STEP
        samples.scraped(at, {"job": f"analytics-{job}", "instance": "one"}, scrape(number * STEP))
        answers.append(rule.fires(samples, at))
    return answers


@pytest.mark.parametrize("job", ["ingest", "query", "flusher", "gateway"])
def test_a_program_that_is_gone_is_missed_until_it_is_back(job: str) -> None:
    answers = fired(f"Analytics{job.title()}Absent", job, 600, lambda at: None if 60 <= at < 300 else [])
    assert (True, False) == (answers[int(285 / STEP)], any(answers[: int(180 / STEP)] + answers[int(300 / STEP) :]))


def test_one_instance_of_several_that_is_gone_is_a_warning_and_no_absence() -> None:
    absent, down, samples = rules()["AnalyticsIngestAbsent"], rules()["AnalyticsInstanceDown"], Samples()
    answers = []
    for number in range(40):
        at = number * STEP
        samples.scraped(at, {"job": "analytics-ingest", "instance": "one"}, [])
        samples.scraped(at, {"job": "analytics-ingest", "instance": "two"}, None)
        answers.append((absent.fires(samples, at), down.fires(samples, at)))
    assert {(False, False), (False, True)} == set(answers)


def test_when_every_call_fails_the_error_rate_is_high_also_without_any_success() -> None:
    assert any(fired("AnalyticsErrorRate", "ingest", 600, refused))


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("RESOURCE_EXHAUSTED", "rate"),
        ("RESOURCE_EXHAUSTED", "streams"),
        ("RESOURCE_EXHAUSTED", "user_limit"),
        ("UNAVAILABLE", "stream_over"),
        ("UNAVAILABLE", "stopping"),
    ],
)
def test_a_caller_above_its_limits_and_a_stream_that_ended_in_time_page_nobody(code: str, cause: str) -> None:
    assert not any(fired("AnalyticsErrorRate", "ingest", 600, lambda at: refused(at, code=code, cause=cause)))


def test_when_no_call_fails_the_error_rate_is_not_high() -> None:
    counted: Sample = ("analytics_events_total", {"outcome": "counted"}, 1.0)
    assert not any(fired("AnalyticsErrorRate", "ingest", 600, lambda at: [(*counted[:2], at), *refused(7)]))


def test_a_flusher_that_was_started_again_is_not_late_before_three_intervals() -> None:
    def scrape(at: float) -> Scrape:
        return last_cycle(100_000) if at < 60 else last_cycle(0) if at < 700 else last_cycle(100_700)

    assert not any(fired("AnalyticsFlushLag", "flusher", 900, scrape))


def test_a_flusher_that_ends_no_cycle_for_three_intervals_is_late_until_it_does() -> None:
    answers = fired("AnalyticsFlushLag", "flusher", 1500, lambda at: last_cycle(100_000 if at < 1200 else 101_200))
    late = [number * STEP for number, fires in enumerate(answers) if fires]
    assert (900 + 60 + STEP, 1200 - STEP) == (late[0], late[-1])


def test_the_quarantine_alert_lasts_as_long_as_a_batch_is_there() -> None:
    def scrape(at: float) -> Scrape:
        return [("analytics_flush_quarantined_batches", {}, 1.0 if 60 <= at < 7200 else 0.0)]

    answers = fired("AnalyticsQuarantine", "flusher", 7500, scrape)
    told = [number * STEP for number, fires in enumerate(answers) if fires]
    assert (120, 7200 - STEP) == (told[0], told[-1])


def test_the_gateways_own_5xx_raise_an_alert() -> None:
    def scrape(at: float) -> Scrape:
        labels = {"envoy_http_conn_manager_prefix": "gateway"}
        failed = {**labels, "envoy_response_code_class": "5"}
        return [("envoy_http_downstream_rq_xx", failed, at / 10), ("envoy_http_downstream_rq_total", labels, at)]

    assert any(fired("AnalyticsGatewayErrors", "gateway", 600, scrape))


def test_a_warehouse_raises_an_alert_until_it_has_caught_up() -> None:
    def scrape(at: float) -> Scrape:
        return [("analytics_warehouse_lag_seconds", {}, 400.0 if at < 600 else 0.0)]

    answers = fired("AnalyticsWarehouseBehind", "warehouse", 900, scrape)
    assert (True, False) == (answers[int(585 / STEP)], any(answers[: int(270 / STEP)] + answers[int(630 / STEP) :]))


def test_a_warehouse_without_its_stores_raises_an_alert() -> None:
    assert any(
        fired("AnalyticsWarehouseBehind", "warehouse", 900, lambda at: [("analytics_warehouse_away_total", {}, at)])
    )


def test_malformed_records_raise_an_alert() -> None:
    def scrape(at: float) -> Scrape:
        return [("analytics_warehouse_rejected_total", {}, 1.0 if at > 300 else 0.0)]

    assert any(fired("AnalyticsWarehouseRejected", "warehouse", 900, scrape))
