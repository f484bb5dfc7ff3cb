"""Where Podium's own playbooks are: in a checkout beside the packages, in an installed wheel among its files."""

from __future__ import annotations

from pathlib import Path

from podium.errors import NotFound

_HERE = Path(__file__).resolve().parent


def tree() -> Path:
    """The folder with `playbooks/`, `roles/` and `ansible.cfg`.

    Raises:
        NotFound: This installation is not whole.
    """
    for folder in (_HERE / "ansible", _HERE.parents[1] / "ansible"):
        if (folder / "playbooks").is_dir():
            return folder
    raise NotFound(f"Podium's playbooks are missing in {_HERE}: install podium again")


def playbook(name: str) -> Path:
    """A playbook that comes with Podium, by its name (`site`).

    Raises:
        NotFound: There is none; says which there are.
    """
    folder = tree() / "playbooks"
    path = folder / f"{name}.yml"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yml")))
        raise NotFound(f'there is no playbook "{name}"; there are {known}')
    return path
