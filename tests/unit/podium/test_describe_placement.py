"""What `describe` says of a pod's place."""

from __future__ import annotations

from podium.cli.describe.page import Page
from podium.cli.describe.placement import placement
from podium.codec.yaml import load_all

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeSelector: {disk: ssd}
  schedulingGates: [{name: example.com/a}, {name: example.com/b}]
  tolerations: [{key: team, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
  affinity:
    podAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {labelSelector: {matchLabels: {app: db}}, topologyKey: zone, namespaces: [data], namespaceSelector: {}}
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 5
        podAffinityTerm: {topologyKey: zone, labelSelector: {}, matchLabelKeys: [hash], mismatchLabelKeys: [tenant]}
  topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
  - {maxSkew: 2, topologyKey: host, whenUnsatisfiable: ScheduleAnyway}
  containers: [{name: c, image: i}]
"""


def test_every_wish_is_a_line() -> None:
    page = Page()
    (pod,) = load_all(MANIFEST)
    placement(page, pod.spec)
    assert str(page).splitlines() == [
        "Node-Selectors:    disk=ssd",
        "Affinity:          near pods app=db in data, namespaces <all> over zone",
        "                   rather apart from pods <all> of the same hash of another tenant over zone (weight 5)",
        "Topology Spread:   zone:DoNotSchedule when max skew 1 is exceeded for selector app=web",
        "                   host:ScheduleAnyway when max skew 2 is exceeded for selector <none>",
        "Scheduling Gates:  example.com/a, example.com/b",
        "Tolerations:       team:NoExecute op=Exists for 5s",
    ]
