# SPDX-License-Identifier: Apache-2.0
"""Install rl_learner."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "rl_learner"


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
    description="How the robot gets better: transitions, replay, online and offline learners.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "finetune = rl_learner.cli.finetune:main",
            "make_prior = rl_learner.cli.make_prior:main",
            "learner_node = rl_learner.nodes.entry_points:learner_node",
            "transition_node = rl_learner.nodes.entry_points:transition_node",
        ],
    },
)
