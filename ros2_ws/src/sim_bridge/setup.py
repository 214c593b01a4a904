# SPDX-License-Identifier: Apache-2.0
"""Install sim_bridge."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "sim_bridge"

data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
    (f"share/{PACKAGE}/config", sorted(glob("config/*"))),
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
    description="MuJoCo behind the topics of a real arm, with reset and task truth for tests and training.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_node = sim_bridge.nodes.entry_points:sim_node",
        ],
    },
)
