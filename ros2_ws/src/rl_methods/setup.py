# SPDX-License-Identifier: Apache-2.0
"""Install rl_methods."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "rl_methods"


data_files = [
    ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
    (f"share/{PACKAGE}", ["package.xml"]),
]
# each method's settings: share/rl_methods/<method>/*.yaml
data_files += [(f"share/{PACKAGE}/{path.parent.name}", [str(path)]) for path in sorted(Path(PACKAGE).glob("*/*.yaml"))]

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
    description="Methods that improve a VLA policy: actor half, learner half and settings of each.",
    license="Apache-2.0",
)
