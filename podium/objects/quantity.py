"""Resource quantities: `100m`, `1.5`, `64Mi`, `2e3`; exact, and canonical in Kubernetes' sense.

A quantity is kept in objects as its canonical string and read as integers: CPU in milli-cores by `milli`, bytes and
counts by `value`. Both round up, so that a request is never understated. Reading is memoised: a cluster of a hundred
thousand pods has some dozens of distinct quantities.

Canonical form: no fraction digits, the largest suffix that loses nothing, and the family (binary, decimal or
exponent) of what was written. `1.5` is `1500m`, `1024Mi` is `1Gi`, `0.5Ki` is `512`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from podium.errors import BadRequest

_GRAMMAR = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?))")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_LARGEST = Fraction(2**63 - 1)
_NANO = Fraction(1, 10**9)

_DECIMAL_FAMILY, _BINARY_FAMILY, _EXPONENT_FAMILY = "decimal", "binary", "exponent"


class _Parsed(NamedTuple):
    amount: Fraction
    family: str


@lru_cache(maxsize=16384)
def _parse(text: str) -> _Parsed:
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise BadRequest(f'"{text}" is not a quantity: must be a number with an optional suffix, e.g. 100m, 1.5, 64Mi')
    number, exponent, suffix = match.groups()
    if exponent is not None:
        return _Parsed(_bounded(Fraction(number) * _power_of_ten(int(exponent[1:]))), _EXPONENT_FAMILY)
    if suffix in _BINARY:
        return _Parsed(_bounded(Fraction(number) * 1024 ** _BINARY[suffix]), _BINARY_FAMILY)
    return _Parsed(_bounded(Fraction(number) * _power_of_ten(_DECIMAL[suffix])), _DECIMAL_FAMILY)


def _power_of_ten(exponent: int) -> Fraction:
    return Fraction(10) ** exponent


def _bounded(amount: Fraction) -> Fraction:
    """Kubernetes' limits: at most 2^63-1, and nothing finer than a billionth (away from zero)."""
    if abs(amount) > _LARGEST:
        return _LARGEST if amount > 0 else -_LARGEST
    nanos = amount / _NANO
    if nanos.denominator == 1:
        return amount
    return (Fraction(_ceil(nanos)) if amount > 0 else Fraction(-_ceil(-nanos))) * _NANO


def _ceil(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)


def parse(text: str) -> Fraction:
    """The exact amount.

    Raises:
        BadRequest: Not a quantity.
    """
    return _parse(text).amount


@lru_cache(maxsize=16384)
def milli(text: str) -> int:
    """The amount in thousandths, rounded up; of CPU, milli-cores. Raises BadRequest."""
    return _ceil(parse(text) * 1000)


@lru_cache(maxsize=16384)
def value(text: str) -> int:
    """The amount in whole units, rounded up; of memory, bytes. Raises BadRequest."""
    return _ceil(parse(text))


@lru_cache(maxsize=16384)
def canonical(text: str) -> str:
    """The one way to write this amount in its family of suffixes. Raises BadRequest."""
    return _render(*_parse(text))


def from_milli(thousandths: int) -> str:
    """Canonical decimal quantity of so many thousandths: 1500 → `1500m`, 2000 → `2`."""
    return _render(Fraction(thousandths, 1000), _DECIMAL_FAMILY)


def from_bytes(count: int) -> str:
    """Canonical binary quantity of so many bytes: 67108864 → `64Mi`."""
    return _render(Fraction(count), _BINARY_FAMILY)


def _render(amount: Fraction, family: str) -> str:
    if amount == 0:
        return "0"
    if family == _BINARY_FAMILY and amount.denominator == 1 and abs(amount) >= 1024:
        return _scaled(amount.numerator, 1024, 6, _BINARY_SUFFIX)
    nanos = (amount / _NANO).numerator
    mantissa, steps = _reduce(nanos, 1000, 9)
    power = 3 * steps - 9
    if family == _EXPONENT_FAMILY:
        return f"{mantissa}e{power}" if power else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIX[power]}"


def _scaled(number: int, base: int, most: int, suffixes: Mapping[int, str]) -> str:
    mantissa, steps = _reduce(number, base, most)
    return f"{mantissa}{suffixes[steps] if steps else ''}"


def _reduce(number: int, base: int, most: int) -> tuple[int, int]:
    """Divide by `base` while nothing is lost; the rest, and how often."""
    steps = 0
    while steps < most and number % base == 0:
        number //= base
        steps += 1
    return number, steps


def add(left: Mapping[str, str], right: Mapping[str, str]) -> dict[str, str]:
    """Sum by resource name; a name that only one side has is kept. Written in `left`'s family of suffixes."""
    return _combine(left, right, 1)


def sub(left: Mapping[str, str], right: Mapping[str, str]) -> dict[str, str]:
    """Difference by resource name; a name that only one side has counts as zero on the other."""
    return _combine(left, right, -1)


def _combine(left: Mapping[str, str], right: Mapping[str, str], sign: int) -> dict[str, str]:
    total = {name: _parse(text) for name, text in left.items()}
    for name, text in right.items():
        amount, family = _parse(text)
        base = total.get(name, _Parsed(Fraction(0), family))
        total[name] = _Parsed(base.amount + sign * amount, base.family)
    return {name: _render(*parsed) for name, parsed in total.items()}
