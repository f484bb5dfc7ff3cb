"""The plugins, one a file; their order here is the order in which they are asked and blamed."""

from __future__ import annotations

from master.scheduler.framework import Profile
from master.scheduler.plugins.image_locality import ImageLocality
from master.scheduler.plugins.node_name import NodeName
from master.scheduler.plugins.node_selector import NodeAffinity
from master.scheduler.plugins.pod_affinity import PodAffinity, PodAntiAffinity, PodPreference
from master.scheduler.plugins.ports import HostPorts
from master.scheduler.plugins.resources import Resources
from master.scheduler.plugins.spread import Spread
from master.scheduler.plugins.taints import Taints
from master.scheduler.plugins.topology_spread import TopologyLabels, TopologyPreference, TopologySpread
from master.scheduler.plugins.volumes import VolumeBinding, VolumeRestrictions


def default_profile() -> Profile:
    """Every plugin with its default weight."""
    return Profile((
        NodeName(),
        Taints(),
        NodeAffinity(),
        HostPorts(),
        Resources(),
        VolumeRestrictions(),
        VolumeBinding(),
        TopologyLabels(),
        TopologySpread(),
        TopologyPreference(),
        PodAffinity(),
        PodAntiAffinity(),
        PodPreference(),
        Spread(),
        ImageLocality(),
    ))  # fmt: skip
