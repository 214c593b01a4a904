# SPDX-License-Identifier: Apache-2.0
"""Install robot_bringup."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "robot_bringup"

data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
]
# each file goes to the folder of the same name below share/<package>
data_files += [
    (f"share/{PACKAGE}/{path.parent}", [str(path)])
    for name in ("config", "description", "launch")
    for path in sorted(Path(name).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
]

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
    description="What touches the arm and brings a robot up: arm, robot files, launch, tasks, timing.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "arm_node = robot_bringup.nodes.entry_points:arm_node",
            "launch_runner = robot_bringup.launch_runner.__main__:main",
        ],
    },
)
