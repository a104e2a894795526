"""One run of one work in a process of its own: its arguments are WORK, EVENTS and PLACE.

Its figures are one JSON array on the last line of standard output, so that neither the memory nor
the caches of one work touch the next.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from scripts.benchmarks.works import HOMES, WORKS, Scale


def main() -> None:
    work, events, place = sys.argv[1:]
    figures = (WORKS | HOMES)[work](Scale(int(events), Path(place)))
    print(json.dumps([asdict(figure) for figure in figures]), flush=True)


if __name__ == "__main__":
    main()
