# SPDX-License-Identifier: Apache-2.0
"""Install whetstone_cli."""

from setuptools import find_packages, setup

PACKAGE = "whetstone_cli"

data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
    # colcon puts a package's bin folder on the PATH
    ("bin", ["scripts/whetstone"]),
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
    description="The whetstone command: its screens, plots and batch jobs.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "features = whetstone_cli.jobs.features:main",
            "finetune = whetstone_cli.jobs.finetune:main",
            "make_classifier = whetstone_cli.jobs.make_classifier:main",
            "make_prior = whetstone_cli.jobs.make_prior:main",
            "post_train = whetstone_cli.jobs.post_train:main",
            "ppo = whetstone_cli.jobs.ppo:main",
            "value = whetstone_cli.jobs.value:main",
            "whetstone = whetstone_cli.cli.entry:main",
        ],
    },
)
