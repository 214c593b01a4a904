# SPDX-License-Identifier: Apache-2.0
"""Install operator_console."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "operator_console"

data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
    (f"share/{PACKAGE}/config", sorted(glob("config/*"))),
]

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "**/*.yaml", "**/*.json", "web/static/*"]},
    data_files=data_files,
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="Whetstone maintainers",
    maintainer_email="maintainers@whetstone.invalid",
    description="Operator console: one page in the browser to watch, operate and take over a robot.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "console_node = operator_console.nodes.entry_points:console_node",
        ],
    },
)
