"""Schedules against a search of every minute, in zones that change their clocks in every way there is."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import BadRequest
from podium.objects.cron import UTC, Schedule, parse, zone_of

MINUTE = datetime.timedelta(minutes=1)


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def firings(text: str, begin: str, end: str, zone: str = "") -> list[str]:
    """All of a span, in local time."""
    tz, moment, found = zone_of(zone), utc(begin), []
    while (moment_ := parse(text).after(moment, tz)) is not None and moment_ <= utc(end):
        moment = moment_
        found.append(f"{moment.astimezone(tz):%m-%d %H:%M %z}")
    return found


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@weekly", "0 0 * * sun"),
        ("@yearly", "0 0 1 jan ?"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("*/15 * * * *", "0,15,30,45 * * * *"),
        ("5-10/2 * * * *", "5,7,9 * * * *"),
        ("50/5 * * * *", "50,55 * * * *"),
        ("0 0 * Jan-MAR Mon-fri", "0 0 * 1-3 1-5"),
        ("0 22 * * 5-7", "0 22 * * 0,5,6"),
    ],
)
def test_ways_to_say_the_same(text: str, same: str) -> None:
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("60 * * * *", 'minute "60" must be a number from 0 to 59'),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * foo *", "a name such as JAN"),
        ("* * * * 8", "day of week"),
        ("5-3 * * * *", "ascends"),
        ("*/0 * * * *", "step of at least 1"),
        ("*-5 * * * *", "must not have a range"),
        ("1-2-3 * * * *", "must be a number, *, a range"),
        ("1, * * * *", "must be a number"),
        ("-1 * * * *", "must be a number"),
        ("@every 1h", "is unknown"),
        ("TZ=UTC * * * * *", "use timeZone"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words.replace("*", r"\*")):
        parse(text)


@pytest.mark.parametrize("name", ["Local", "Mars/Olympus", "../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="is unknown"):
        zone_of(name)


# ---------------------------------------------------------------- firing


def test_leap_days_and_days_of_month_or_week() -> None:
    assert parse("0 0 29 2 *").after(utc("2096-03-01")) == utc("2104-02-29")
    assert firings("0 0 13 * fri", "2026-02-01", "2026-02-28") == [
        "02-06 00:00 +0000", "02-13 00:00 +0000", "02-20 00:00 +0000", "02-27 00:00 +0000",
    ]  # fmt: skip
    assert firings("0 0 */10 * mon", "2026-06-01", "2026-06-30")[:4] == [
        "06-08 00:00 +0000", "06-11 00:00 +0000", "06-15 00:00 +0000", "06-21 00:00 +0000",
    ]  # fmt: skip


BERLIN_SPRING = ("2026-03-28T22:00", "2026-03-29T10:00")  # 02:00 → 03:00 on the 29th
BERLIN_AUTUMN = ("2026-10-24T21:00", "2026-10-25T10:00")  # 03:00 → 02:00 on the 25th


def test_a_time_that_the_clock_skips_fires_once_at_the_change() -> None:
    assert firings("30 2 * * *", *BERLIN_SPRING, "Europe/Berlin") == ["03-29 03:00 +0200"]
    assert firings("*/20 2 * * *", *BERLIN_SPRING, "Europe/Berlin") == ["03-29 03:00 +0200"]
    assert firings("0 2,3 * * *", *BERLIN_SPRING, "Europe/Berlin") == ["03-29 03:00 +0200"]


def test_a_time_that_comes_twice_fires_at_the_first() -> None:
    assert firings("30 2 * * *", *BERLIN_AUTUMN, "Europe/Berlin") == ["10-25 02:30 +0200"]
    assert firings("30 2,3 * * *", *BERLIN_AUTUMN, "Europe/Berlin") == ["10-25 02:30 +0200", "10-25 03:30 +0100"]


def test_what_fires_every_hour_follows_real_time() -> None:
    spring = firings("30 * * * *", "2026-03-29T00:00", "2026-03-29T02:00", "Europe/Berlin")
    assert spring == ["03-29 01:30 +0100", "03-29 03:30 +0200"]
    autumn = firings("30 * * * *", "2026-10-25T00:00", "2026-10-25T02:00", "Europe/Berlin")
    assert autumn == ["10-25 02:30 +0200", "10-25 02:30 +0100"]


def test_a_day_that_a_country_leaves_out_fires_when_the_next_begins() -> None:
    assert firings("0 9 * * *", "2011-12-29T00:00", "2012-01-01T00:00", "Pacific/Apia") == [
        "12-29 09:00 -1000", "12-31 00:00 +1400", "12-31 09:00 +1400", "01-01 09:00 +1400",
    ]  # fmt: skip


# ---------------------------------------------------------------- properties

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo",
     "Africa/Casablanca", "America/St_Johns", "Pacific/Chatham"]
)  # fmt: skip


def field(least: int, most: int) -> st.SearchStrategy[str]:
    numbers = st.lists(st.integers(least, most), min_size=1, max_size=3, unique=True).map(
        lambda ns: ",".join(map(str, sorted(ns)))
    )
    steps = st.integers(1, most).map(lambda n: f"*/{n}")
    return st.one_of(st.just("*"), numbers, steps)


SCHEDULES = st.tuples(field(0, 59), field(0, 23), st.just("*"), st.just("*"), field(0, 6)).map(" ".join)
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"), "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03"), "America/Sao_Paulo": ("2018-11-03", "2019-02-16"),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"), "America/St_Johns": ("2026-03-08", "2026-11-01"),
    "Pacific/Chatham": ("2026-04-04", "2026-09-26"),
}  # fmt: skip


def brute(
    schedule: Schedule, begin: datetime.datetime, end: datetime.datetime, zone: datetime.tzinfo
) -> Iterator[datetime.datetime]:
    """Look at the clock every minute."""
    seen: set[datetime.datetime] = set()
    moment, before = begin, begin - datetime.timedelta(days=2)
    last_wall = before.astimezone(zone).replace(tzinfo=None)
    moment = before
    while moment <= end:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        shown = [wall]
        if not schedule.every_hour:
            skipped = wall - last_wall
            if skipped > MINUTE:
                shown += [last_wall + n * MINUTE for n in range(1, skipped // MINUTE)]
            shown = [w for w in shown if w not in seen]
            seen.update(shown)
        last_wall = wall
        if moment > begin and any(w.hour * 60 + w.minute in schedule.times and schedule._has(w.date()) for w in shown):
            yield moment
        moment += MINUTE


@settings(max_examples=40, deadline=None)
@given(SCHEDULES, ZONES, st.integers(0, 1), st.integers(0, 1440), st.integers(0, 59))
def test_it_fires_when_a_clock_that_is_watched_every_minute_says_so(
    text: str, name: str, which: int, minute: int, second: int
) -> None:
    schedule, zone = parse(text), zone_of(name)
    day = CHANGES.get(name, ("2026-05-01", "2026-05-02"))[which]
    begin = utc(day) + minute * MINUTE
    end = begin + datetime.timedelta(days=1)
    expected = list(brute(schedule, begin, end, zone))
    late = begin + datetime.timedelta(seconds=second)
    found, moment = [], late
    while (following := schedule.after(moment, zone)) is not None and following <= end:
        moment = following
        found.append(following)
    assert found == expected
    assert schedule.count(late, end, zone, 10_000) == len(expected)
    last = schedule.until(end + datetime.timedelta(seconds=second), zone)
    assert last is not None
    assert last <= end + datetime.timedelta(seconds=second)
    assert (last == expected[-1]) if expected else last <= begin


@settings(max_examples=200, deadline=None)
@given(SCHEDULES, ZONES, st.datetimes(datetime.datetime(2015, 1, 1), datetime.datetime(2030, 1, 1)))
def test_before_and_after_agree(text: str, name: str, naive: datetime.datetime) -> None:
    schedule, zone, moment = parse(text), zone_of(name), naive.replace(tzinfo=UTC)
    following, before = schedule.after(moment, zone), schedule.until(moment, zone)
    assert before is not None
    assert following is not None
    assert before <= moment < following
    assert schedule.until(following, zone) == following
    assert schedule.until(following - datetime.timedelta(microseconds=1), zone) == before
    assert schedule.after(before, zone) == following
