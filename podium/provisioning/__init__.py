"""Hosts made nodes and bare again, by Ansible: playbooks that come with Podium, run by ansible-runner.

    from podium.provisioning import play, playbook

    outcome = await play(playbook("join"), inventory, key=key, extra=variables, tell=print)
    if not outcome.ok:
        print(outcome.sentence)

Needs the extra `podium[ansible]`; nothing of Ansible is loaded before the first `play`. This is the only part of Podium
that knows ansible-runner.
"""

from podium.provisioning.events import Event, Happened, HostResult, HostState, Outcome
from podium.provisioning.playbooks import playbook
from podium.provisioning.runner import play

__all__ = ["Event", "Happened", "HostResult", "HostState", "Outcome", "play", "playbook"]
