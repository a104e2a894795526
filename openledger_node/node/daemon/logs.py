"""Where the daemon's own log goes: standard error for a journal, or a file that is turned over.

Every line is an event name with fields; no secret and no payload is ever among them.
"""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import UsageError
from openledger_node.node.config import Config

KEPT_FILES: Final = 2
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def daemon_log(config: Config, home: Path) -> Any:
    """A structured log as the home's settings say."""
    import structlog

    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if config.log_file:
        path = home / config.log_file
        try:
            handler = RotatingFileHandler(
                path, maxBytes=config.log_file_bytes, backupCount=KEPT_FILES, encoding="utf-8"
            )
        except OSError as error:
            raise UsageError(
                f"cannot write the log file {path}: {error.strerror}",
                hint="change log.file in node.toml; empty means standard error",
            ) from None
    renderer: Any = structlog.processors.JSONRenderer()
    if config.log_format == "console":
        colours = not config.log_file and sys.stderr.isatty()
        renderer = structlog.dev.ConsoleRenderer(colors=colours)
    backend = logging.getLogger("oln.daemon")
    backend.handlers[:] = [handler]
    backend.propagate = False
    level = _LEVELS[config.log_level]
    backend.setLevel(level)
    return structlog.wrap_logger(
        backend,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
