"""The syntax of names, keys and values. Each check answers "" when the text is right, else what it must be.

Answers are memoised: a cluster has far fewer distinct names and labels than objects.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ENVIRONMENT_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_LABEL_FORM = "must be lower-case letters, digits and '-', and must start and end with a letter or digit"
_SUBDOMAIN_FORM = "must be lower-case letters, digits, '-' and '.', and must start and end with a letter or digit"
_QUALIFIED_FORM = "must be letters, digits, '-', '_' and '.', and must start and end with a letter or digit"


@lru_cache(maxsize=16384)
def dns_label(text: str) -> str:
    """A DNS-1123 label, as containers and namespaces are named."""
    if len(text) > 63:
        return "must be at most 63 characters"
    return "" if _LABEL.fullmatch(text) else _LABEL_FORM


@lru_cache(maxsize=16384)
def dns_subdomain(text: str) -> str:
    """A DNS-1123 subdomain, by which most objects are named in others."""
    return object_name(text)


def object_name(text: str) -> str:
    """A DNS-1123 subdomain, as most objects are named themselves. Each is checked once: there is nothing to memoise."""
    if len(text) > 253:
        return "must be at most 253 characters"
    return "" if _SUBDOMAIN.fullmatch(text) else _SUBDOMAIN_FORM


@lru_cache(maxsize=16384)
def qualified_name(text: str) -> str:
    """A label's or annotation's key: `app`, `example.com/app`."""
    prefix, slash, name = text.rpartition("/")
    if slash and not prefix:
        return "must have a name before the '/'"
    if prefix and (problem := dns_subdomain(prefix)):
        return f"the part before the '/' {problem}"
    if not name:
        return "must not be empty"
    if len(name) > 63:
        return "must be at most 63 characters" + (" after the '/'" if prefix else "")
    return "" if _QUALIFIED.fullmatch(name) else _QUALIFIED_FORM


@lru_cache(maxsize=16384)
def label_value(text: str) -> str:
    """A label's value; may be empty."""
    if len(text) > 63:
        return "must be at most 63 characters"
    return "" if not text or _QUALIFIED.fullmatch(text) else _QUALIFIED_FORM


@lru_cache(maxsize=1024)
def port_name(text: str) -> str:
    """An IANA service name."""
    if len(text) > 15:
        return "must be at most 15 characters"
    if not _PORT_NAME.fullmatch(text):
        return "must be lower-case letters, digits and single '-' between them"
    return "" if any(c.isalpha() for c in text) else "must have at least one letter"


@lru_cache(maxsize=4096)
def environment_name(text: str) -> str:
    """The name of an environment variable."""
    if _ENVIRONMENT_NAME.fullmatch(text):
        return ""
    return "must be letters, digits, '_', '-' and '.', and must not start with a digit"


def data_key(text: str) -> str:
    """A key of a Secret's or ConfigMap's data: also a file name."""
    if len(text) > 253:
        return "must be at most 253 characters"
    if text == "." or text.startswith(".."):
        return 'must not be "." nor start with ".."'
    return "" if _DATA_KEY.fullmatch(text) else "must be letters, digits, '-', '_' and '.'"


def header_name(text: str) -> str:
    """The name of an HTTP header."""
    return "" if _HEADER_NAME.fullmatch(text) else "must be an HTTP header name"


@lru_cache(maxsize=4096)
def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be an IP address"
    return ""


@lru_cache(maxsize=4096)
def ipv4_address(text: str) -> str:
    """An IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return "must be an IPv4 address"
    return ""


@lru_cache(maxsize=4096)
def ip_range(text: str) -> str:
    """An address range such as 10.0.1.0/24."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return "must be an address range such as 10.0.1.0/24, without host bits"
    return ""


def port_number(number: int) -> str:
    """A TCP or UDP port."""
    return "" if 1 <= number <= 65535 else "must be between 1 and 65535"


def percentage(text: str) -> int | None:
    """The number of a text such as `25%`, else None."""
    return int(text[:-1]) if re.fullmatch(r"\d{1,9}%", text) else None
