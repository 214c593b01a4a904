#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Source the workspace, then become the command: signals reach it, so that it ends in order.
set -eo pipefail
cd /whetstone
source tools/env.sh
exec "$@"
