"""Text and times as DICOM values. Own text is ASCII: it is right in every Specific Character Set a source may use."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta, timezone

_OFFSET = re.compile(r"([+-])(\d\d)([0-5]\d)")


def plain(text: str, limit: int | None = None) -> str:
    """`text` in printable ASCII without the backslash (which separates values), at most `limit` characters."""
    folded = unicodedata.normalize("NFKD", text.replace("\u00df", "ss"))
    kept = "".join(c for c in folded if not unicodedata.combining(c))
    clean = "".join(c if c.isascii() and c.isprintable() else "?" for c in " ".join(kept.split())).replace("\\", "/")
    if limit is not None and len(clean) > limit:
        clean = clean[: limit - 3].rstrip() + "..."
    return clean.strip()


def offset_of(value: str | None) -> timezone:
    """The zone of a Timezone Offset From UTC (0008,0201); UTC where it is absent or not valid (-1200 to +1400)."""
    found = _OFFSET.fullmatch((value or "").strip())
    if found is None:
        return timezone.utc
    sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
    return timezone(offset) if timedelta(hours=-12) <= offset <= timedelta(hours=14) else timezone.utc


def moment(unix_seconds: float, zone: timezone = timezone.utc) -> datetime:
    """The time in that zone, to the microsecond."""
    return datetime.fromtimestamp(round(unix_seconds, 6), tz=zone)


def iso(unix_seconds: float) -> str | None:
    """ISO 8601 in UTC with microseconds, or None for a time that is never."""
    if unix_seconds in (float("inf"), float("-inf")):
        return None
    return moment(unix_seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
