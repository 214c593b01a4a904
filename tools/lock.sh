#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Turn requirements/*.in into lock files with hashes. Versions that are already locked are kept where possible.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
work="$(mktemp -d)"
trap 'rm -rf "${work}"' EXIT
python3 -m venv "${work}/venv"
"${work}/venv/bin/pip" install -q uv
# uv reads the platforms to solve for from a project file
printf '[tool.uv]\nenvironments = ["sys_platform == '"'linux'"' and python_full_version < '"'3.13'"'"]\n' > "${work}/pyproject.toml"
cp ./*.in ./*.lock "${work}/" 2>/dev/null || cp ./*.in "${work}/"
cd "${work}"
export UV_PYTHON_DOWNLOADS=never
solve() {  # name, further arguments
  local name="$1"; shift
  "${work}/venv/bin/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
    --no-emit-package torch "$@" "${name}.in" -o "${name}.lock"
}
# torch is a step of its own in tools/setup: without this all that its default build needs would be locked here
echo "torch ; sys_platform == 'none'" > no_torch.txt
# openpi-client's modules that the tests import need neither an old numpy nor dm-tree
printf '%s\n' "torch ; sys_platform == 'none'" "numpy>=2" "dm-tree ; sys_platform == 'none'" > interop_overrides.txt
solve python --overrides no_torch.txt
solve ros -c python.lock
for extra in bench browser docs; do
  solve "${extra}" -c python.lock --overrides no_torch.txt
done
solve interop -c python.lock --overrides interop_overrides.txt
cd - > /dev/null
for name in python ros bench browser docs interop; do
  {
    echo "# Made by tools/lock.sh from requirements/${name}.in: do not edit by hand."
    echo "# Install with: pip install --require-hashes --no-deps -r requirements/${name}.lock"
    grep -v '^#' "${work}/${name}.lock" | sed -E 's/ ; [^\\]*\\/ \\/'
  } > "${name}.lock"
done
# what is in python.lock is installed before
for extra in bench browser docs interop; do
  awk -F'==' 'FILENAME == "python.lock" { locked[$1] = 1; next } /^[a-z]/ { keep = !($1 in locked) } /^#/ || keep' \
    python.lock "${extra}.lock" > "${work}/${extra}.lock"
  cp "${work}/${extra}.lock" "${extra}.lock"
done
{
  echo "# Made by tools/lock.sh: the part of ros.lock that is not ROS, for machines with a sourced distribution."
  grep -v '^#' ros.lock | awk '/^[a-z]/ { keep = ($0 !~ /^ros-/) } keep'
} > colcon.lock
grep -c '==' ./*.lock
