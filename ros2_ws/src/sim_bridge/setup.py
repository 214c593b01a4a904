# SPDX-License-Identifier: Apache-2.0
"""Install sim_bridge."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "sim_bridge"


def tree(source: Path, target: str) -> list[tuple[str, list[str]]]:
    """List every file below `source`, to be installed with its folders to share/<package>/`target`."""
    folders: dict[Path, list[str]] = {}
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            folders.setdefault(path.parent.relative_to(source), []).append(str(path))
    return [(str(Path("share") / PACKAGE / target / folder), files) for folder, files in folders.items()]


data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
]
for name in ("config", "description", "models"):
    data_files += tree(Path(name), name)

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "**/*.yaml", "**/*.json", "**/*.html"]},
    data_files=data_files,
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="Whetstone maintainers",
    maintainer_email="maintainers@whetstone.invalid",
    description="MuJoCo behind the topics of a real arm, with reset and task truth for tests and training.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_node = sim_bridge.nodes.entry_points:sim_node",
        ],
    },
)
