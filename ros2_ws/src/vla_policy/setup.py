# SPDX-License-Identifier: Apache-2.0
"""Install vla_policy."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "vla_policy"

data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
]
# each file goes to the folder of the same name below share/<package>
data_files += [
    (f"share/{PACKAGE}/{path.parent}", [str(path)])
    for name in ("config", "models")
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
    description="What the robot thinks: observation, vision-language-action policy, steering.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "classifier_node = vla_policy.nodes.entry_points:classifier_node",
            "observation_node = vla_policy.nodes.entry_points:observation_node",
            "vla_node = vla_policy.nodes.entry_points:vla_node",
            "steering_node = vla_policy.nodes.entry_points:steering_node",
        ],
    },
)
