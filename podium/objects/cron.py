"""Cron schedules: read from five fields, and asked when they fire, in a time zone, over changes of its clock. Pure.

    minute 0-59 · hour 0-23 · day of month 1-31 · month 1-12 or JAN-DEC · day of week 0-7 or SUN-SAT (0 and 7: Sunday)

A field is `*` (or `?`), or a list of numbers, ranges `a-b` and steps `*/n`, `a-b/n`, `a/n`. When both day fields are
restricted, either may match, as ever in cron. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and
`@annually` stand for what they say.

When clocks change:

    every hour is in the schedule  ─► it follows real time: an hour that is left out has no firings, one that comes
                                      twice has them twice
    only some hours are            ─► each time of the day fires once: one that the clock skips fires at the moment of
                                      the change, one that comes twice at the first
"""

from __future__ import annotations

import datetime
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from podium.errors import BadRequest

UTC = datetime.UTC

_DAY = datetime.timedelta(days=1)
_MINUTE = datetime.timedelta(minutes=1)
_FARTHEST_DAYS = 8 * 366 + 2
"""Between two 29ths of February around a century that is no leap year."""

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(_WEEKDAY_NAMES)}
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(r"(?P<first>\*|\?|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: Mapping[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is to happen.

    Attributes:
        times: Minutes of the day, ascending.
        days: Of the month.
        months: From 1.
        weekdays: From 0, Sunday.
        any_day: Whether the day of the month is not restricted.
        any_weekday: Whether the day of the week is not restricted.
        every_hour: Whether no hour of the day is left out, so that the schedule follows real time.
    """

    times: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    every_hour: bool

    def after(self, moment: datetime.datetime, zone: datetime.tzinfo = UTC) -> datetime.datetime | None:
        """The first firing later than `moment`, in UTC; None when there is none for years."""
        for day in self._days(moment.astimezone(zone).date() - _DAY, 1):
            base, minutes = self._firings(day, zone)
            index = bisect_right(minutes, _minutes(moment - base))
            if index < len(minutes):
                return base + minutes[index] * _MINUTE
        return None

    def until(self, moment: datetime.datetime, zone: datetime.tzinfo = UTC) -> datetime.datetime | None:
        """The last firing that is not later than `moment`, in UTC; None when there was none for years."""
        for day in self._days(moment.astimezone(zone).date() + _DAY, -1):
            base, minutes = self._firings(day, zone)
            index = bisect_right(minutes, _minutes(moment - base))
            if index:
                return base + minutes[index - 1] * _MINUTE
        return None

    def count(self, after: datetime.datetime, until: datetime.datetime, zone: datetime.tzinfo, most: int) -> int:
        """How many firings are later than `after` and not later than `until`; counted no further than `most`."""
        found, moment = 0, self.after(after, zone)
        while moment is not None and moment <= until and found < most:
            found, moment = found + 1, self.after(moment, zone)
        return found

    def _days(self, first: datetime.date, step: int) -> Iterator[datetime.date]:
        for number in range(_FARTHEST_DAYS):
            day = first + number * step * _DAY
            if day.month in self.months and self._has(day):
                yield day

    def _has(self, day: datetime.date) -> bool:
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month and of_week) if self.any_day or self.any_weekday else (of_month or of_week)

    def _firings(self, day: datetime.date, zone: datetime.tzinfo) -> tuple[datetime.datetime, Sequence[int]]:
        """What fires for a day of the zone's calendar: minutes after a moment, ascending."""
        midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=zone)
        base = midnight.astimezone(UTC)
        if midnight.utcoffset() == (midnight + _DAY).utcoffset():  # wall time of the next midnight
            return base, self.times
        return base, _firings_of_change(self, midnight.replace(tzinfo=None), base, zone)


@lru_cache(maxsize=256)
def _firings_of_change(
    schedule: Schedule, midnight: datetime.datetime, base: datetime.datetime, zone: datetime.tzinfo
) -> Sequence[int]:
    """Minutes after `base` at which a schedule fires for a day on which the zone's clocks are changed."""
    moments = {
        moment
        for time in schedule.times
        for moment in _moments(midnight + time * _MINUTE, zone, real_time=schedule.every_hour)
    }
    return sorted(_minutes(moment - base) for moment in moments)


def _moments(wall: datetime.datetime, zone: datetime.tzinfo, *, real_time: bool) -> list[datetime.datetime]:
    """When a clock of the zone shows a time, or, if it never does, is changed over it."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) != wall:
        return [] if real_time else [_change(second, first, zone)]
    return [first, second] if real_time else [first]


def _change(before: datetime.datetime, after: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """The minute in (before, after] at which the zone's clock is changed."""
    offset = after.astimezone(zone).utcoffset()
    minutes = range(1, _minutes(after - before) + 1)
    moved = bisect_left(minutes, 1, key=lambda n: (before + n * _MINUTE).astimezone(zone).utcoffset() == offset)
    return before + minutes[moved] * _MINUTE


def _minutes(span: datetime.timedelta) -> int:
    return span // _MINUTE


# ---------------------------------------------------------------- reading


@lru_cache(maxsize=4096)
def parse(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        BadRequest: Not a schedule, or one that never fires; says which field.
    """
    if text.upper().startswith(("TZ=", "CRON_TZ=")):
        raise BadRequest("must not name a time zone: use timeZone")
    if text.startswith("@") and text not in _NICKNAMES:
        raise BadRequest(f'"{text}" is unknown: there are {", ".join(_NICKNAMES)}')
    words = _NICKNAMES.get(text, text).split()
    if len(words) != len(_FIELDS):
        raise BadRequest(f"must have five fields (minute, hour, day of month, month, day of week), not {len(words)}")
    minutes, hours, days, months, weekdays = (_values(word, field) for word, field in zip(words, _FIELDS, strict=True))
    schedule = Schedule(
        times=tuple(hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)),
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        any_day=words[2] in ("*", "?"),
        any_weekday=words[4] in ("*", "?"),
        every_hour=len(hours) == 24,
    )
    if schedule.after(datetime.datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise BadRequest("never fires: there is no such day")
    return schedule


def _values(word: str, field: _Field) -> frozenset[int]:
    return frozenset(value for part in word.split(",") for value in _part(part, field))


def _part(part: str, field: _Field) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise BadRequest(f'{field.name} "{part}" must be a number, *, a range a-b or a step such as */5')
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    if step < 1:
        raise BadRequest(f'{field.name} "{part}" must have a step of at least 1')
    if first in ("*", "?"):
        if last is not None:
            raise BadRequest(f'{field.name} "{part}" must not have a range that begins with {first}')
        return range(field.least, min(field.most, 6 if field.names is _WEEKDAYS else field.most) + 1, step)
    low = _number(first, field)
    high = _number(last, field) if last is not None else (field.most if match["step"] else low)
    if high < low:
        raise BadRequest(f'{field.name} "{part}" must be a range that ascends')
    return range(low, high + 1, step)


def _number(text: str, field: _Field) -> int:
    value = field.names.get(text.lower(), int(text) if text.isdecimal() else -1)
    if not field.least <= value <= field.most:
        named = " or a name such as " + next(iter(field.names)).upper() if field.names else ""
        raise BadRequest(f'{field.name} "{text}" must be a number from {field.least} to {field.most}{named}')
    return value


@lru_cache(maxsize=1024)
def zone_of(name: str) -> datetime.tzinfo:
    """A time zone by its name in the IANA database; UTC when it is empty.

    Raises:
        BadRequest: There is none of this name.
    """
    if not name or name in ("UTC", "Etc/UTC"):
        return UTC
    try:
        if name.lower() == "local":
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadRequest(f'time zone "{name}" is unknown: must be a name such as Europe/Berlin') from error
