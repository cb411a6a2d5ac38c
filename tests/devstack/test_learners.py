import random
from itertools import islice, pairwise
from typing import cast

from devstack.learners import seat, sitting
from devstack.seed import DEMO_COURSE

LECTURES = [lecture.id for lecture in DEMO_COURSE.lectures]


def watched(chance: random.Random) -> set[object]:
    return {call.body.get("lectureId") for call in sitting(DEMO_COURSE, "token", chance)} - {None}


def test_a_learner_opens_the_course_first_and_once() -> None:
    paths = [call.path for call in sitting(DEMO_COURSE, "token", random.Random(1))]

    assert f"/api/v1/analytics/view/{DEMO_COURSE.id}" == paths[0]
    assert 1 == paths.count(paths[0])


def test_fewer_learners_see_each_further_lecture_and_some_the_last() -> None:
    chance = random.Random(1)
    sittings = [watched(chance) for _ in range(500)]

    audience = [sum(lecture in each for each in sittings) for lecture in LECTURES]

    assert len(sittings) == audience[0]
    assert sorted(set(audience), reverse=True) == audience
    assert audience[-1] > 0


def test_a_lecture_is_one_playback_and_no_ping_is_sent_under_the_id_of_another() -> None:
    pings = [call.body for call in sitting(DEMO_COURSE, "token", random.Random(1)) if "lectureId" in call.body]

    assert len({ping["lectureId"] for ping in pings}) == len({ping["playbackId"] for ping in pings})
    assert len(pings) == len({ping["eventId"] for ping in pings})


def test_a_seat_is_taken_by_one_learner_after_another() -> None:
    calls = islice(seat(DEMO_COURSE, "a secret of a demo, long enough for HS256", random.Random(1)), 500)

    assert len({call.token for call in calls}) > 5


def test_what_a_learner_plays_lies_in_the_lecture_and_some_go_back() -> None:
    chance = random.Random(1)
    parts = [
        (part["fromSeconds"], part["toSeconds"])
        for _ in range(20)
        for call in sitting(DEMO_COURSE, "token", chance)
        for part in cast("list[dict[str, int]]", call.body.get("played", []))
    ]

    assert {(0, 5), (115, 120)} == {min(parts), max(parts)}
    assert any(later < earlier and later > 0 for (earlier, _), (later, _) in pairwise(parts))
