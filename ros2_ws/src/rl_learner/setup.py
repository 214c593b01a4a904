# SPDX-License-Identifier: Apache-2.0
"""Install rl_learner."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "rl_learner"

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
    description="How the robot gets better: replay, online and offline learners.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "learner_node = rl_learner.nodes.entry_points:learner_node",
        ],
    },
)
