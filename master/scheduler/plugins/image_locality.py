"""Nodes that have a pod's images are better: what need not be pulled starts sooner.

Kubernetes' rule: the sizes of the images that the node has, each scaled by the part of all nodes that have it (so that
one node with a rare image does not attract every pod), from 0 at 23 MB to 100 at 1000 MB for each container.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from master.scheduler.columns import Floats, RowArray
from master.scheduler.shape import Footprint
from master.scheduler.snapshot import Snapshot
from podium.objects.pod import all_containers, image_name
from podium.v1.core_pb2 import Pod

_LEAST = 23 * 1024 * 1024
_MOST_A_CONTAINER = 1000 * 1024 * 1024


class Images(NamedTuple):
    """Full names with the number of containers that run each."""

    names: tuple[tuple[str, int], ...]
    containers: int


class ImageLocality:
    """Scorer; the need is an Images."""

    name = "ImageLocality"
    weight = 1.0

    def sign(self, pod: Pod, footprint: Footprint) -> Images:
        names = Counter(image_name(container.image) for container in all_containers(pod.spec))
        return Images(tuple(sorted(names.items())), names.total())

    def score(self, need: Images, cluster: Snapshot, rows: RowArray, depth: int) -> Floats:
        there = np.zeros(rows.size)
        for name, containers in need.names:
            image = cluster.images.get(name)
            if image is not None:
                there += image.sizes[rows] * (containers * image.nodes / max(len(cluster), 1))
        most = _MOST_A_CONTAINER * max(need.containers, 1)
        score: Floats = 100.0 * (np.clip(there, _LEAST, most) - _LEAST) / (most - _LEAST)
        return score[:, np.newaxis]
