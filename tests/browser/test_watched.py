"""What is counted of a video is what was played of it."""

from tests.browser.scene import LONG, Viewer


async def test_a_video_that_is_played_through_is_counted_whole(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(20)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_what_is_skipped_is_not_counted(viewer: Viewer) -> None:
    await viewer.open(LONG)
    await viewer.play(8)
    await viewer.seek(608)
    await viewer.play(614)
    await viewer.seek(4)
    await viewer.play(10)
    await viewer.counted()
