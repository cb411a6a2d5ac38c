"""What is counted of a video is what was played of it."""

from math import inf

import pytest

from tests.browser.scene import LONG, SHORT, Viewer
from tests.browser.service import eventually


async def test_a_video_that_is_played_through_is_counted_whole(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(20, rate=8)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_what_is_skipped_is_not_counted(viewer: Viewer) -> None:
    await viewer.open(LONG)
    await viewer.play(16)
    await viewer.seek(616)  # as a button for ten minutes does
    await viewer.play(632)
    await viewer.seek(4)
    await viewer.play(20)
    await viewer.counted()


@pytest.mark.parametrize(("rate", "src", "to"), [(0.5, SHORT, 1.5), (2, SHORT, 6), (16, LONG, 48)])
async def test_seconds_are_those_of_the_clock_at_every_speed(viewer: Viewer, rate: float, src: str, to: float) -> None:
    await viewer.open(src)
    await viewer.play(to, rate)
    await viewer.counted()


async def test_a_change_of_speed_is_counted_from_where_it_happens(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(8, rate=8)
    await viewer.play(11, rate=1)
    await viewer.counted()


async def test_watching_to_the_end_twice_is_counted_twice_and_one_view(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(20)
    await viewer.play(20)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_a_loop_is_counted_as_often_as_it_plays(viewer: Viewer) -> None:
    await viewer.open()
    looped = """
        video.loop = true;
        video.playbackRate = 16;
        let rounds = 0;
        video.addEventListener("seeking", () => rounds += 1);
        await video.play();
        await until(() => rounds === 3);
        video.pause();
        await until(() => !video.seeking);
        scene.played.push([0, 20, 16], [0, 20, 16], [0, 20, 16], [0, video.currentTime, 16]);
    """
    await viewer.run(looped)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_a_pause_and_scrubbing_add_nothing(viewer: Viewer) -> None:
    await viewer.open(LONG)
    await viewer.play(40)
    for position in (100, 300, 20, 500, 10):
        await viewer.seek(position)
    await viewer.run("video.play(); video.pause();")
    await viewer.counted()


async def test_a_speed_of_zero_adds_nothing(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(8, rate=8)
    stands = """
        video.playbackRate = 0;
        await video.play();
        const since = performance.now();
        await until(() => performance.now() - since > 1500);
        video.pause();
    """
    await viewer.run(stands)
    await viewer.counted()


async def test_scrubbing_while_it_plays_adds_only_what_plays(viewer: Viewer) -> None:
    await viewer.open(LONG)
    scrubbed = """
        await video.play();
        for (const position of [100, 300, 20, 500, 10]) {
            video.currentTime = position;
            await until(() => !video.seeking);
        }
        scene.played.push([10, 10, 1]);
        await scene.play(18, 8);
    """
    await viewer.run(scrubbed)
    await viewer.counted()


async def test_many_small_skips_add_nothing(viewer: Viewer) -> None:
    await viewer.open()
    skipped = """
        await video.play();
        for (let skip = 0; skip < 8; skip += 1) {
            const from = video.currentTime;
            await until(() => video.currentTime > from + 0.2);
            scene.played.push([from, video.currentTime, 1]);
            video.currentTime += 0.4;
            await until(() => !video.seeking);
        }
        video.pause();
        await tracker.flush();
    """
    await viewer.run(skipped)
    told = await viewer.told()
    assert sum(told.parts.values()) < await viewer.seconds_played() + 1


async def test_a_jump_that_no_seek_announces_is_not_counted(viewer: Viewer) -> None:
    await viewer.open(LONG)
    jumped = """
        const {get} = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "currentTime");
        let offset = 0;
        Object.defineProperty(video, "currentTime", {get: () => get.call(video) + offset});
        video.playbackRate = 2;
        await video.play();
        await until(() => video.currentTime > 3);
        scene.played.push([0, video.currentTime, 2], [video.currentTime + 300, 306, 2]);
        offset = 300;
        await until(() => video.currentTime > 306);
        video.pause();
    """
    await viewer.run(jumped)
    await viewer.counted()


async def test_of_a_live_video_only_seconds_are_counted(viewer: Viewer) -> None:
    await viewer.open()
    live = """
        const canvas = document.createElement("canvas");
        const paint = setInterval(() => canvas.getContext("2d").fillRect(0, 0, Math.random() * 9, 9), 20);
        video.removeAttribute("src");
        video.srcObject = canvas.captureStream();
        await video.play();
        const since = video.currentTime;
        await until(() => video.currentTime > since + 3);
        video.pause();
        clearInterval(paint);
        await tracker.flush();
        return [video.duration, video.currentTime - since];
    """
    duration, seconds = await viewer.run(live)
    assert inf == duration
    await eventually(lambda: abs(viewer.stored()["watchTimeSeconds"] - seconds) <= 1, expected=True)
    pings = await viewer.page.evaluate("scene.bodies.flat().map(({telemetry}) => telemetry)")
    assert not any("played" in ping or "durationSeconds" in ping for ping in pings)


async def test_a_stall_adds_nothing(viewer: Viewer) -> None:
    """What follows the first 149 seconds of the video does not come for a while."""
    viewer.site.release.clear()
    await viewer.open(f"{LONG}?hold=33000")
    stalled = """
        await scene.seek(131);
        scene.through = scene.play(155, 8);
        await once("waiting");
        const since = performance.now();
        await until(() => performance.now() - since > 3000);
    """
    await viewer.run(stalled)
    viewer.site.release.set()
    await viewer.run("await scene.through;")
    await viewer.counted()


async def test_the_second_lecture_of_an_element_is_another_one(viewer: Viewer) -> None:
    first, second = viewer.course.lectures[:2]
    await viewer.open(LONG)
    await viewer.play(24)
    await viewer.run(f"tracker.lecture('{second.id}'); scene.first = scene.played; scene.played = [];")
    await viewer.play(48)
    await viewer.counted(lecture=1)
    await viewer.run("scene.played = scene.first;")
    await viewer.counted()
    assert (first.id, 1) == (viewer.stored()["lectureId"], viewer.stored()["views"])
    assert (second.id, 1) == (viewer.stored(1)["lectureId"], viewer.stored(1)["views"])


async def test_an_element_that_is_removed_is_counted_up_to_there(viewer: Viewer) -> None:
    await viewer.open()
    removed = """
        video.playbackRate = 4;
        await video.play();
        await until(() => video.currentTime > 8);
        scene.played.push([0, video.currentTime, 4]);
        video.remove();
        await until(() => video.paused);
    """
    await viewer.run(removed)
    await viewer.counted()


async def test_tracking_an_element_again_is_the_same_tracker(viewer: Viewer) -> None:
    await viewer.open()
    again = "const {track} = await import(scene.script); return track(video, {}) === tracker;"
    assert await viewer.run(again)


async def test_a_stopped_tracker_counts_no_more(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(16)
    await viewer.run("tracker.stop(); scene.before = [...scene.played];")
    await viewer.play(20)
    await viewer.run("scene.played = scene.before;")
    await viewer.counted()
