"""Makes the videos of the demo and of the browser tests. They are committed; run this only to change them.

.venv/bin/uv run --no-project --with imageio-ffmpeg==0.8.1 python devstack/video.py

ffmpeg draws them: they show a title and the time, one chapter every 20 seconds.
"""

import subprocess
from pathlib import Path

import imageio_ffmpeg

ROOT = Path(__file__).parent.parent
FONT = ROOT / ".venv" / "browser" / "fonts" / "Open_Sans" / "OpenSans-Bold.ttf"
SITE = ROOT / "tests" / "browser" / "site"

CHAPTERS = ("Two clocks", "A message is late", "Who is right?", "A vote", "What is left", "Summary")
CHAPTER_SECONDS = 20
TIME = r"%{eif\:floor(t/60)\:d\:2} %{eif\:floor(mod(t,60))\:d\:2}"
VP9 = ("-c:v", "libvpx-vp9", "-crf", "40", "-b:v", "0", "-pix_fmt", "yuv420p", "-cues_to_front", "1")
HLS = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20", "-hls_time", "2", "-hls_playlist_type", "vod")


def text(words: str, *, size: int, y: str, when: str = "1") -> str:
    """A line of text in the middle of the picture."""
    return f"drawtext=fontfile={FONT}:text='{words}':fontsize={size}:fontcolor=white:x=(w-tw)/2:y={y}:enable='{when}'"


def draw(to: Path, *options: str, seconds: int, rate: int, size: str, gap: int, words: list[str]) -> None:
    """One file, with `rate` frames a second and a keyframe every `gap` seconds."""
    picture = f"gradients=s={size}:c0=0x1b2a49:c1=0x3a5a78:nb_colors=2:speed=0.01:r={rate}:d={seconds}:seed=1"
    filters = ",".join([picture, *words, text(TIME, size=40, y="h*0.7")])
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "lavfi", "-i", filters]
    subprocess.run([*command, "-g", str(gap * rate), *options, str(to)], check=True)


def main() -> None:
    """Entry point."""
    titles = [text("Why machines disagree", size=28, y="h*0.15")] + [
        text(chapter, size=44, y="h*0.4", when=f"between(t,{n * CHAPTER_SECONDS},{(n + 1) * CHAPTER_SECONDS})")
        for n, chapter in enumerate(CHAPTERS)
    ]
    lecture = ROOT / "devstack" / "demo" / "lecture.webm"
    draw(lecture, *VP9, seconds=CHAPTER_SECONDS * len(CHAPTERS), rate=10, size="640x360", gap=2, words=titles)
    draw(SITE / "20s.webm", *VP9, seconds=20, rate=10, size="160x90", gap=1, words=[])
    draw(SITE / "12min.webm", *VP9, seconds=720, rate=1, size="160x90", gap=10, words=[])
    draw(SITE / "hls.m3u8", *HLS, seconds=6, rate=10, size="160x90", gap=2, words=[])


if __name__ == "__main__":
    main()
