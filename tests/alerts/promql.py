"""PromQL as far as the alert rules use it: parsed as Prometheus parses it, evaluated over scraped samples.

A series that a scrape lacks is gone from then on (Prometheus marks it stale), and so are all of a target that cannot be
scraped. `rate` and `increase` extrapolate as Prometheus does. What is not known raises NotImplementedError.
"""

import itertools
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import promql_parser

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Sample = tuple[str, Mapping[str, str], float]

LOOKBACK_SECONDS = 300

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
MATCHES: dict[str, Callable[[str, str], bool]] = {
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Re": lambda value, pattern: re.fullmatch(pattern, value) is not None,
    "NotRe": lambda value, pattern: re.fullmatch(pattern, value) is None,
}
AGGREGATES: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


@dataclass
class Samples:
    """What was scraped: by name and labels, values in the order of time; and when a series was gone."""

    series: defaultdict[tuple[str, Labels], list[tuple[float, float | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def scraped(self, at: float, target: Mapping[str, str], samples: Iterable[Sample] | None) -> None:
        """Adds one scrape of a target with these labels; None when it could not be scraped."""
        seen = {("up", frozenset(target.items())): 0.0 if samples is None else 1.0}
        for name, labels, value in samples or ():
            seen[name, frozenset({**labels, **target}.items())] = value
        for key, values in self.series.items():
            if frozenset(target.items()) <= key[1] and key not in seen and values[-1][1] is not None:
                values.append((at, None))
        for key, value in seen.items():
            self.series[key].append((at, value))

    def instant(self, selector: Any, at: float) -> Vector:
        """The newest values, not older than five minutes."""
        found: Vector = {}
        for labels, values in self._selected(selector):
            past = [each for each in values if at - LOOKBACK_SECONDS < each[0] <= at]
            if past and past[-1][1] is not None:
                found[labels] = past[-1][1]
        return found

    def window(self, selector: Any, at: float) -> dict[Labels, list[tuple[float, float]]]:
        """All values of the last seconds that a matrix selector asks for."""
        start = at - selector.range.total_seconds()
        windows = {
            labels: [(time, value) for time, value in values if start < time <= at and value is not None]
            for labels, values in self._selected(selector.vector_selector)
        }
        return {labels: values for labels, values in windows.items() if values}

    def _selected(self, selector: Any) -> Iterable[tuple[Labels, list[tuple[float, float | None]]]]:
        matchers = selector.matchers.matchers
        for (name, labels), values in self.series.items():
            given = dict(labels)
            if name == selector.name and all(
                MATCHES[str(one.op).rpartition(".")[2]](given.get(one.name, ""), one.value) for one in matchers
            ):
                yield labels, values


def evaluate(expression: str, samples: Samples, at: float) -> Vector:
    """The vector that an expression gives at a time, in seconds."""
    value = _value(promql_parser.parse(expression), samples, at)
    return value if isinstance(value, dict) else {frozenset(): value}


def _value(node: Any, samples: Samples, at: float) -> Vector | float:
    match type(node).__name__:
        case "NumberLiteral":
            return float(node.val)
        case "ParenExpr":
            return _value(node.expr, samples, at)
        case "VectorSelector":
            return samples.instant(node, at)
        case "AggregateExpr":
            return _aggregated(node, _vector(node.expr, samples, at))
        case "BinaryExpr":
            return _binary(str(node.op), _value(node.lhs, samples, at), _value(node.rhs, samples, at))
        case "Call":
            return _called(node.func.name, node.args, samples, at)
    raise NotImplementedError(type(node).__name__)


def _vector(node: Any, samples: Samples, at: float) -> Vector:
    value = _value(node, samples, at)
    assert isinstance(value, dict), "this function takes a vector"
    return value


def _aggregated(node: Any, vector: Vector) -> Vector:
    kept = set(node.modifier.labels) if node.modifier else set()
    groups: defaultdict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[frozenset(label for label in labels if label[0] in kept)].append(value)
    return {labels: AGGREGATES[str(node.op)](values) for labels, values in groups.items()}


def _binary(name: str, left: Vector | float, right: Vector | float) -> Vector | float:
    if name == "or":
        assert isinstance(left, dict)
        assert isinstance(right, dict)
        return {**right, **left}
    if isinstance(left, float) and isinstance(right, float):
        return _calculated(name, left, right)
    pairs: dict[Labels, tuple[float, float]]
    if isinstance(left, dict) and isinstance(right, dict):
        pairs = {labels: (left[labels], right[labels]) for labels in left.keys() & right.keys()}
    elif isinstance(left, dict):
        pairs = {labels: (value, right) for labels, value in left.items()}  # type: ignore[misc] # a number then
    else:
        assert isinstance(right, dict)
        pairs = {labels: (left, value) for labels, value in right.items()}
    if name in COMPARISONS:
        return {labels: pair[0] for labels, pair in pairs.items() if COMPARISONS[name](*pair)}
    return {labels: _calculated(name, *pair) for labels, pair in pairs.items()}


def _calculated(name: str, left: float, right: float) -> float:
    if name == "/":
        return left / right if right else float("nan")
    return ARITHMETIC[name](left, right)


def _called(name: str, arguments: list[Any], samples: Samples, at: float) -> Vector | float:
    if name == "time":
        return at
    (argument,) = arguments
    if name == "absent":
        return {} if _vector(argument, samples, at) else {frozenset(): 1.0}
    if name == "vector":
        return {frozenset(): float(argument.val)}
    windows = samples.window(argument, at)
    if name == "max_over_time":
        return {labels: max(value for _, value in values) for labels, values in windows.items()}
    if name not in ("increase", "rate"):
        raise NotImplementedError(name)
    seconds = argument.range.total_seconds()
    grown = {labels: _increase(values, at, seconds) for labels, values in windows.items() if len(values) > 1}
    return {labels: value / seconds if name == "rate" else value for labels, value in grown.items()}


def _increase(values: list[tuple[float, float]], at: float, seconds: float) -> float:
    """Of a counter, which a restart sets back; extrapolated to the window, but not far beyond the samples."""
    resets = sum(before for (_, before), (_, after) in itertools.pairwise(values) if after < before)
    (first, start), (last, end) = values[0], values[-1]
    grown, sampled = end - start + resets, last - first
    apart = sampled / (len(values) - 1)
    before, after = (gap if gap < apart * 1.1 else apart / 2 for gap in (first - (at - seconds), at - last))
    if grown > 0 and start >= 0:
        before = min(before, sampled * start / grown)  # a counter was not below zero
    return grown * (sampled + before + after) / sampled


@dataclass
class Alert:
    """A rule, and since when its expression has held, for each set of labels."""

    name: str
    expression: str
    hold_seconds: float
    since: dict[Labels, float] = field(default_factory=dict)

    def fires(self, samples: Samples, at: float) -> bool:
        """Whether it fires at this evaluation; to be asked at every one."""
        holds = evaluate(self.expression, samples, at)
        self.since = {labels: self.since.get(labels, at) for labels in holds}
        return any(at - since >= self.hold_seconds for since in self.since.values())
