"""What a ControllerRevision holds: a pod template, as the patch that puts it back. One template is one text.

The text is canonical (keys in order, no spaces), so revisions are compared by their bytes; and it is Kubernetes' own
form, so that its tools can read it.
"""

from __future__ import annotations

import json
from functools import lru_cache

from podium.codec.json import from_dict, parse_json, to_dict
from podium.errors import BadRequest
from podium.v1.apps_pb2 import ControllerRevision
from podium.v1.core_pb2 import PodTemplateSpec

_REPLACE = {"$patch": "replace"}


def data_of(template: PodTemplateSpec) -> bytes:
    """The data of a revision with this template."""
    return _data(template.SerializeToString(deterministic=True))


@lru_cache(maxsize=512)
def _data(template: bytes) -> bytes:
    content = to_dict(PodTemplateSpec.FromString(template)) | _REPLACE
    return json.dumps({"spec": {"template": content}}, sort_keys=True, separators=(",", ":")).encode()


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template of a revision.

    Raises:
        BadRequest: Its data is none, or not known to this version.
    """
    try:
        content = dict(parse_json(revision.data)["spec"]["template"])
    except (KeyError, TypeError, ValueError):
        raise BadRequest(f'ControllerRevision "{revision.metadata.name}" holds no pod template') from None
    content.pop("$patch", None)
    return from_dict(PodTemplateSpec, content)
