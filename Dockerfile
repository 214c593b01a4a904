# SPDX-License-Identifier: Apache-2.0
# Two images from one file: `robot` (the arm's side, without torch) and `gpu` (policy and learner, with CUDA).
#   docker build --target robot -t whetstone:robot .
#   docker build --target gpu -t whetstone:gpu .
FROM python:3.11-slim-bookworm AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git libegl1 libgl1 make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home whetstone
WORKDIR /whetstone
RUN chown 1000:1000 /whetstone
USER 1000
COPY --chown=1000:1000 . .
ENV PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["/whetstone/docker/entrypoint.sh"]

FROM base AS robot
RUN python3 tools/setup --no-torch
CMD ["whetstone", "up", "policy:=false", "sim:=false"]

FROM base AS gpu
# a build has no GPU to be found, and would get torch's CPU build
RUN python3 -m venv .venv \
    && .venv/bin/pip install "torch==$(sed -n 's/^TORCH = "\(.*\)"/\1/p' tools/setup/environment.py)" \
    && python3 tools/setup
CMD ["python", "-m", "robot_bringup.launch_runner", "launch/serve.launch.xml"]
