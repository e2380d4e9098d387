"""What a backtest will take, told before it starts: seconds and memory of one process."""

from __future__ import annotations

from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

# Measured on llmfao (1,850), pandalm (945) and generated rows: seconds of one core, bytes.
SECONDS_A_SEED, SECONDS_A_COMPARISON, SECONDS_AN_ALLOCATION = 6.0, 0.002, 0.06
BYTES_AT_LEAST, BYTES_A_COMPARISON = 350 * 10**6, 60_000
# Of a file's text, beside that: as parsed, and as its words are compared. Measured on rows of 1,000 and 20,000 letters.
BYTES_A_CHARACTER = 16


def seconds(comparisons: int, seeds: int, allocations: int) -> float:
    """Of one core. `allocations`: strategies times budgets."""
    a_seed = SECONDS_A_SEED + comparisons * SECONDS_A_COMPARISON + allocations * SECONDS_AN_ALLOCATION
    return seeds * a_seed


def memory(comparisons: int) -> int:
    """Bytes at the highest."""
    return BYTES_AT_LEAST + comparisons * BYTES_A_COMPARISON


def memory_of_file(rows: int, characters: int) -> int:
    """Bytes at the highest of a file with so many rows and characters, however long its texts are."""
    return memory(rows) + characters * BYTES_A_CHARACTER


def memory_left() -> int | None:
    """Bytes that this machine can still give; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def words_left(comparisons: int, seeds: int, allocations: int) -> str:
    return _("about %(time)s left") % {"time": words(seconds(comparisons, seeds, allocations))}


def words(length: float) -> str:
    """Minutes, or hours from two on; never none."""
    minutes = max(1, round(length / 60))
    if minutes < 120:
        return ngettext("%(n)s minute", "%(n)s minutes", minutes) % {"n": minutes}
    return ngettext("%(n)s hour", "%(n)s hours", round(minutes / 60)) % {"n": round(minutes / 60)}
