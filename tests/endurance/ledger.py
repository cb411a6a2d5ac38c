"""What was sent, what was counted, and what each process took in memory meanwhile. Pure, but for reading /proc."""

from dataclasses import dataclass, field
from pathlib import Path

# What a program's resident memory may grow by from the first sample of the outage to any later one. Its caches fill up
# meanwhile; a leak of 100 bytes a ping would reach this after 2 minutes at 3,000 pings/s.
GROWTH_MB = 32.0

# A dashboard without MongoDB is refused within 2 s by the server's clock. Here the load generator, the servers and the
# one who waits share a machine that all of them keep busy.
REFUSAL_SECONDS = 4.0


def resident_mb(pid: int) -> float:
    """The resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes) / 1024


@dataclass(slots=True)
class Memory:
    """The samples of one process, in MB."""

    name: str
    samples: list[float] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """By how much it ever exceeded the first sample."""
        return max(self.samples) - self.samples[0]

    def row(self) -> str:
        """Its line in the table."""
        first, last, most = self.samples[0], self.samples[-1], max(self.samples)
        return f"{self.name:14} {first:8.1f} {last:8.1f} {most:8.1f} {self.growth:8.1f}"


@dataclass(slots=True)
class Audit:
    """The whole run. `attempted` is the unit of all counts: pings; `away` are those of the outage."""

    memories: list[Memory]
    acknowledged: int = 0
    away: int = 0
    refused: int = 0
    counted: int = 0
    seconds_counted: int = 0
    failed_flushes: int = 0
    dashboards_refused: int = 0
    dashboards_wrong: int = 0
    slowest_refusal: float = 0.0
    left: str = ""

    def findings(self, ping_seconds: int) -> list[str]:
        """What is wrong, in plain words; nothing when all is well. A refused ping may have been counted or not."""
        low, high = self.acknowledged, self.acknowledged + self.refused
        said = {
            f"{self.counted} pings were counted of {low} acknowledged, {high} attempted": not low
            <= self.counted
            <= high,
            "the seconds do not go with the pings": self.seconds_counted != ping_seconds * self.counted,
            "no ping was counted while MongoDB was away": self.away == 0,
            "no flush failed: MongoDB was not away": self.failed_flushes == 0,
            f"{self.dashboards_wrong} dashboards did not answer UNAVAILABLE": self.dashboards_wrong > 0,
            f"a dashboard took {self.slowest_refusal:.1f} s to say so": self.slowest_refusal > REFUSAL_SECONDS,
            f"not everything could be flushed: {self.left}": bool(self.left),
        }
        grown = {f"{memory.name} grew by {memory.growth:.0f} MB": memory.growth > GROWTH_MB for memory in self.memories}
        return [sentence for sentence, holds in (said | grown).items() if holds]
