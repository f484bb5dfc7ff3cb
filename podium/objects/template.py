"""The identity of a pod template: equal templates have equal hashes, on every machine and in every process.

The hash is the `pod-template-hash` label of a ReplicaSet's pods and the end of its name. `collision` makes another
one when a different template already took the name.
"""

from __future__ import annotations

import hashlib

from podium.v1.core_pb2 import PodTemplateSpec

HASH_LABEL = "pod-template-hash"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LENGTH = 10


def template_hash(template: PodTemplateSpec, collision: int = 0) -> str:
    """Ten characters, safe in names and labels; the template's own hash label does not count."""
    digest = hashlib.blake2b(_bytes(template), digest_size=8, salt=collision.to_bytes(8, "big")).digest()
    return _encode(int.from_bytes(digest, "big"))


def same_template(left: PodTemplateSpec, right: PodTemplateSpec) -> bool:
    """Whether two templates make the same pods, hash label aside."""
    return _bytes(left) == _bytes(right)


def _bytes(template: PodTemplateSpec) -> bytes:
    if HASH_LABEL in template.metadata.labels:
        copy = PodTemplateSpec()
        copy.CopyFrom(template)
        del copy.metadata.labels[HASH_LABEL]
        template = copy
    return template.SerializeToString(deterministic=True)


def _encode(number: int) -> str:
    characters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)
