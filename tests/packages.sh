#!/usr/bin/env bash
# What people install, in bare environments: the wheel with every Python that is here, and how programs end there, then
# the tests that the sdist carries. The argument is a Python with hatchling and build; COIGP_PYTHONS names others than
# those looked for.
set -euo pipefail
cd "$(dirname "$0")/.."
builder=${1:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# PYTHONPATH would let the checkout stand in for what is installed.
unset PYTHONPATH
# Bytecode is kept, or every process would compile the package anew.
unset PYTHONDONTWRITEBYTECODE
"$builder" -m build --no-isolation --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
ls "$work/dist"
tar -xzf "$work"/dist/*.tar.gz -C "$work"
sources=$(echo "$work"/coig_p-*/)

# By its name, or where pyenv keeps it; nothing where neither has one that runs.
find_python() {
  local found
  for found in "$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"${1#python}"*/bin/"$1"; do
    "$found" -c '' 2>/dev/null && { echo "$found"; return; }
  done
  return 0
}

last=
for name in ${COIGP_PYTHONS:-python3.11 python3.12 python3.13}; do
  python=$(find_python "$name")
  [ -n "$python" ] || { echo "$name is not here"; continue; }
  venv="$work/$(basename "$name")"
  echo "$("$python" -V): the wheel in a bare environment, coigp env, coigp demo"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary "$work"/dist/*.whl
  mkdir "$venv/run"
  (cd "$venv/run" && "$venv/bin/coigp" env && "$venv/bin/coigp" demo >demo.txt && tail -4 demo.txt)
  # An interpreter that ends treats threads differently in every version.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary 'pytest>=8.3' 'pytest-xdist>=3.7' \
    'hypothesis>=6.100'
  (cd "$sources" && HF_HUB_OFFLINE=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider -W default \
    -n 2 --dist loadfile --no-loadscope-reorder tests/engine tests/pairs/test_exit.py)
  # What jobs make, by one process and by two, is the same to the byte, and the same as of the Python before.
  for processes in 1 2; do
    (cd "$sources/tests" && PYTHONPATH=.:publish "$venv/bin/python" digests.py --processes $processes >"$work/digests.new")
    [ -e "$work/digests" ] || cp "$work/digests.new" "$work/digests"
    cmp "$work/digests" "$work/digests.new" || { diff "$work/digests" "$work/digests.new"; exit 1; }
  done
  echo "$("$python" -V): $(wc -l <"$work/digests") files that jobs make have the same bytes"
  last=$venv
done
[ -n "$last" ] || { echo "no Python to try"; exit 1; }

echo "The sdist's own tests, with the wheel installed in $(basename "$last")"
"$last/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary build hatchling 'aiohttp>=3.13.3'
cd "$sources"
# Of the optional packages only aiohttp: what needs another is skipped with a reason, or not asked for here. What may be
# missing from an sdist is missing in each example: few of them will do.
HYPOTHESIS_PROFILE=few HF_HUB_OFFLINE=1 "$last/bin/python" -m pytest -q -p no:cacheprovider -W default \
  -n 2 --dist loadfile --no-loadscope-reorder \
  tests/core tests/ingest tests/store tests/stats tests/test_architecture.py tests/test_builder.py \
  tests/test_call.py tests/test_configs.py tests/test_launch.py tests/test_package.py tests/test_public.py \
  tests/test_registration.py
