"""Check the types of the whole `dnncc` package: `python tests/typecheck.py [mypy options]`.

mypy does not read setuptools' package-dir, so the import package is laid out as links in `typings/`, as
pyproject.toml says.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def layout(repository: Path) -> dict[Path, Path]:
    """Link to target, both relative to `repository`: what `typings/` has to hold.

    The root package's entries are linked one by one, so that the other folders fit in beside them.
    """
    with (repository / "pyproject.toml").open("rb") as file:
        folders: dict[str, str] = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    links: dict[Path, Path] = {}
    for package, folder in folders.items():
        place = Path("typings", *package.split("."))
        if "." in package:
            links[place] = Path(folder)
            continue
        for entry in (repository / folder).iterdir():
            if entry.name != "__pycache__":
                links[place / entry.name] = Path(folder, entry.name)
    return links


def link_tree(repository: Path) -> Path:
    """Bring `typings/` up to date, links of vanished files removed, and return it."""
    links = layout(repository)
    for parent in {link.parent for link in links}:
        (repository / parent).mkdir(parents=True, exist_ok=True)
        for present in (repository / parent).iterdir():
            if present.relative_to(repository) not in links:
                present.unlink()
    for link, target in links.items():
        wanted = os.path.relpath(target, link.parent)
        place = repository / link
        if not place.is_symlink() or str(place.readlink()) != wanted:
            place.unlink(missing_ok=True)
            place.symlink_to(wanted)
    return repository / "typings"


def main(options: list[str]) -> int:
    """mypy's exit status on the package; `options` are passed on to mypy."""
    environment = os.environ | {"MYPYPATH": str(link_tree(REPOSITORY))}
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "-p", "dnncc", *options]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
