"""The protocol, searched exhaustively in small: clean as it is, and faulty without any one of its measures."""

from dataclasses import fields, replace

import pytest

from tests.model.circumstances import NEEDED, SMALL
from tests.model.rules import Circumstance, Measures, Rules
from tests.model.search import search, stuck
from tests.model.trace import story


@pytest.mark.parametrize("circumstance", SMALL, ids=lambda circumstance: circumstance.name.replace(" ", "_"))
def test_no_order_of_steps_and_faults_loses_doubles_or_misreads_a_count(circumstance: Circumstance) -> None:
    result = search(circumstance, Measures())
    assert not result.fault, "\n".join(story(result, Rules(circumstance, Measures())))
    assert result.ends > 0


@pytest.mark.parametrize(("measure", "circumstance"), NEEDED, ids=lambda value: str(getattr(value, "name", value)))
def test_without_this_measure_there_is_a_fault(measure: str, circumstance: Circumstance) -> None:
    assert search(circumstance, replace(Measures(), **{measure: False})).fault


def test_every_measure_is_shown_to_be_needed() -> None:
    assert {field.name for field in fields(Measures)} == {measure for measure, _ in NEEDED}


@pytest.mark.parametrize("circumstance", SMALL[:-1], ids=lambda circumstance: circumstance.name.replace(" ", "_"))
def test_from_every_state_all_counts_can_still_be_flushed(circumstance: Circumstance) -> None:
    assert stuck(circumstance, Measures()) == []
