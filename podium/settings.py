"""Settings: a frozen dataclass a component, filled from its defaults < a TOML file < the environment < flags.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class MasterSettings:
        listen: tuple[str, ...] = option(("0.0.0.0:7443",), doc="Addresses of the API.")
        lease: Duration = option(4.0, doc="Silence after which a node is lost.")

    settings = load(MasterSettings, sys.argv[1:], env_prefix="PODIUM_MASTER", prog="podium-master")

`listen` is then `listen = ["…"]` in the file that `--config` (or `PODIUM_MASTER_CONFIG`) names,
`PODIUM_MASTER_LISTEN=a,b`, or `--listen a --listen b`. Types: str, int, float, bool, Path, Literal, Duration
(seconds; written `300ms`, `1.5h`, `1h30m`, or a number of seconds), `tuple[T, ...]`, `Mapping[str, str]` (`a=1,b=2`),
each also `| None`. A setting that is wrong or unknown is an error that names it, where it was set, and what is
accepted.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

Duration = Annotated[float, "duration"]
"""Seconds. Written with units: `300ms`, `4s`, `1h30m`."""

_CONFIG = "config"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|s|m|h|d)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


class SettingsError(Exception):
    """A setting is wrong or unknown; the message is for the person who set it."""


def option(default: T, *, doc: str) -> T:
    """A field of a settings dataclass: its default, and the sentence that `--help` shows."""
    if isinstance(default, Mapping):
        made: Any = dataclasses.field(default_factory=lambda: default, metadata={"doc": doc})
    else:
        made = dataclasses.field(default=default, metadata={"doc": doc})
    typed: T = made
    return typed


def load(
    cls: type[T],
    argv: Sequence[str],
    *,
    env_prefix: str,
    prog: str | None = None,
    description: str = "",
    environ: Mapping[str, str] | None = None,
) -> T:
    """Fill `cls` from every source. `--help` prints all settings and exits.

    Raises:
        SettingsError: A value is wrong or a name unknown.
        SystemExit: `--help`, or a flag that does not exist (argparse prints why).
    """
    env = os.environ if environ is None else environ
    prefix = env_prefix.rstrip("_") + "_"
    options = _options(cls)
    flags = vars(_parser(options, prefix, prog, description).parse_args(argv))
    config = flags.pop(_CONFIG) or env.get(prefix + _CONFIG.upper())
    values = _from_file(options, Path(config)) if config else {}
    values |= _from_environment(options, prefix, env)
    values |= _from_flags(options, flags)
    for name, opt in options.items():
        if opt.default is dataclasses.MISSING and name not in values:
            raise SettingsError(f"setting {name} is required: set {opt.flag} or {prefix}{name.upper()}")
    return cls(**values)


# ---------------------------------------------------------------- what a setting accepts


@dataclass(frozen=True, slots=True)
class _Type:
    """How a setting's value is read: from text, or from a TOML value."""

    accepts: str
    from_text: Callable[[str], Any]
    from_toml: Callable[[Any], Any]
    repeats: bool = False
    is_bool: bool = False


@dataclass(frozen=True, slots=True)
class _Option:
    """One setting."""

    name: str
    doc: str
    default: Any
    type: _Type

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _options(cls: type[Any]) -> dict[str, _Option]:
    hints = get_type_hints(cls, include_extras=True)
    return {
        f.name: _Option(f.name, str(f.metadata.get("doc", "")), _default(f), _type_of(hints[f.name]))
        for f in dataclasses.fields(cls)
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


def _type_of(hint: Any) -> _Type:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _DURATION_TYPE
    if origin in (Union, types.UnionType):
        (inner,) = [a for a in args if a is not type(None)]
        return _type_of(inner)
    if origin is Literal:
        return _literal(args)
    if origin is tuple:
        return _sequence(_type_of(args[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _MAP_TYPE
    return _SIMPLE[hint]


def _checked(expected: type | tuple[type, ...], convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise ValueError
        return convert(value)

    return read


def parse_duration(text: str) -> float:
    """Seconds of `300ms`, `1.5h`, `1h30m`, or of a plain number.

    Raises:
        ValueError: None of these.
    """
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return float(text)


def _duration_from_toml(value: Any) -> float:
    return parse_duration(value) if isinstance(value, str) else _checked((int, float), float)(value)


def _boolean(text: str) -> bool:
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise ValueError
    return found


def _literal(choices: tuple[Any, ...]) -> _Type:
    def read(value: Any) -> Any:
        if value not in choices:
            raise ValueError
        return value

    return _Type("one of " + ", ".join(map(str, choices)), read, read)


def _sequence(item: _Type) -> _Type:
    return _Type(
        f"a list, each {item.accepts}",
        lambda text: tuple(item.from_text(part.strip()) for part in text.split(",") if part.strip()),
        _checked(list, lambda values: tuple(item.from_toml(v) for v in values)),
        repeats=True,
    )


def _map_from_text(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError
    return {key.strip(): value.strip() for key, _, value in pairs}


def _map_from_toml(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: _checked(str, str)(value) for key, value in values.items()}


_DURATION_TYPE = _Type("a duration such as 300ms, 4s or 1h30m", parse_duration, _duration_from_toml)
_MAP_TYPE = _Type("pairs such as a=1,b=2", _map_from_text, _checked(dict, _map_from_toml), repeats=True)
_SIMPLE: dict[Any, _Type] = {
    str: _Type("a text", str, _checked(str, str)),
    int: _Type("a whole number", int, _checked(int, int)),
    float: _Type("a number", float, _checked((int, float), float)),
    bool: _Type("true or false", _boolean, _checked(bool, bool), is_bool=True),
    Path: _Type("a path", Path, _checked(str, Path)),
}


# ---------------------------------------------------------------- sources


def _from_file(options: Mapping[str, _Option], path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    names = {name.replace("-", "_"): name for name in values}
    for name, written in names.items():
        _known(name, options, f'"{written}" in {path}')
    return {
        name: _read(options[name], options[name].type.from_toml, values[written], f"in {path}")
        for name, written in names.items()
    }


def _from_environment(options: Mapping[str, _Option], prefix: str, env: Mapping[str, str]) -> dict[str, Any]:
    found = {key.removeprefix(prefix).lower(): key for key in env if key.startswith(prefix)}
    found.pop(_CONFIG, None)
    for name, key in found.items():
        _known(name, options, f"environment variable {key}")
    return {
        name: _read(options[name], options[name].type.from_text, env[key], f"from environment variable {key}")
        for name, key in found.items()
    }


def _from_flags(options: Mapping[str, _Option], flags: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, raw in flags.items():
        if raw is None:
            continue
        opt = options[name]
        text = ",".join(raw) if isinstance(raw, list) else raw
        values[name] = raw if opt.type.is_bool else _read(opt, opt.type.from_text, text, f"from flag {opt.flag}")
    return values


def _read(opt: _Option, convert: Callable[[Any], Any], value: Any, source: str) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"setting {opt.name} ({source}): {value!r} is not {opt.type.accepts}") from error


def _known(name: str, options: Mapping[str, _Option], where: str) -> None:
    if name in options:
        return
    near = get_close_matches(name, options, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"known settings: {', '.join(options)}"
    raise SettingsError(f"unknown setting: {where}; {hint}")


def _parser(options: Mapping[str, _Option], prefix: str, prog: str | None, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        epilog=f"Each setting is also read from the environment ({prefix}NAME) and from the TOML file that --config "
        "names; a flag wins over the environment, and that over the file.",
    )
    parser.add_argument("--" + _CONFIG, metavar="FILE", help="TOML file with settings.")
    for opt in options.values():
        _add_flag(parser, opt)
    return parser


def _add_flag(parser: argparse.ArgumentParser, opt: _Option) -> None:
    text = f"{opt.doc} {_shown_default(opt)}".replace("%", "%%").strip()
    if opt.type.is_bool:
        parser.add_argument(opt.flag, default=None, action=argparse.BooleanOptionalAction, help=text)
    elif opt.type.repeats:
        parser.add_argument(opt.flag, default=None, action="append", metavar="VALUE", help=text + " May be repeated.")
    else:
        parser.add_argument(opt.flag, default=None, metavar="VALUE", help=text)


def _shown_default(opt: _Option) -> str:
    default = opt.default
    if default is dataclasses.MISSING:
        return "[required]"
    if default is None or default == () or default == "" or default == {}:
        return ""
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    unit = "s" if opt.type is _DURATION_TYPE else ""
    return f"[default: {default}{unit}]"
