# SPDX-License-Identifier: Apache-2.0
"""Install robot_bringup."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "robot_bringup"


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
    # colcon puts a package's bin folder on the PATH
    ("bin", ["scripts/whetstone"]),
]
for name in ("config", "description", "launch", "models"):
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
    description="What touches the arm and the person: arm, episodes, operator, launch, command line.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "arm_node = robot_bringup.nodes.entry_points:arm_node",
            "episode_node = robot_bringup.nodes.entry_points:episode_node",
            "operator_node = robot_bringup.nodes.entry_points:operator_node",
            "recorder_node = robot_bringup.nodes.entry_points:recorder_node",
            "launch_runner = robot_bringup.launch_runner.__main__:main",
            "whetstone = robot_bringup.cli.entry:main",
        ],
    },
)
