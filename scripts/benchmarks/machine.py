"""The machine that figures were measured on, as far as it says so itself."""

from __future__ import annotations

import os
import platform
import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

MEMORY_FILE_SYSTEMS: Final = frozenset(["tmpfs", "ramfs"])


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on besides the code."""

    processor: str
    cores: int
    memory_mib: int
    kernel: str
    python: str
    file_system: str
    date: str

    def text(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_mib / 1024:.1f} GiB; "
            f"{self.kernel}; Python {self.python}; {self.file_system}; {self.date}"
        )

    @property
    def is_durable(self) -> bool:
        """Whether the folder measured in survives a power cut."""
        return self.file_system not in MEMORY_FILE_SYSTEMS


def this_machine(place: Path) -> Machine:
    """Describes this machine and the file system that `place` lies on."""
    return Machine(
        processor=_processor(),
        cores=_cores(),
        memory_mib=_memory_mib(),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        file_system=_file_system(place),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


class Others:
    """What other processes do meanwhile: cores in use, less those of this process and its children.

    Processes of idle priority are left out. Where /proc/stat is missing the answer is None.
    """

    def __init__(self) -> None:
        self._began = time.monotonic(), _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """The average since this was made."""
        began, busy, own = self._began
        now_busy = _busy_seconds()
        if busy is None or now_busy is None:
            return None
        elapsed = time.monotonic() - began
        return max(0.0, (now_busy - busy - (_own_seconds() - own)) / elapsed) if elapsed else 0.0


def _busy_seconds() -> float | None:
    """Seconds of all cores that were neither idle, waiting for a disk, nor at idle priority."""
    try:
        with Path("/proc/stat").open(encoding="ascii") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    _, nice, _, idle, waiting, *_ = ticks
    return (sum(ticks) - nice - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def _memory_mib() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError, AttributeError):
        return 0


def _file_system(place: Path) -> str:
    """The type of the file system that `place` lies on, where /proc says it."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown file system"
    target, best, found = place.resolve(), -1, "unknown file system"
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        if (point == target or point in target.parents) and len(point.parts) >= best:
            best, found = len(point.parts), fields[2]
    return found
