#!/usr/bin/env bash
# What people install, in bare environments: the wheel with every Python that is here, then the tests that the sdist
# carries. The argument is a Python with hatchling and build; COIGP_PYTHONS names others than those looked for.
set -euo pipefail
cd "$(dirname "$0")/.."
builder=$(realpath --no-symlinks "${1:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# PYTHONPATH would let the checkout stand in for what is installed.
unset PYTHONPATH
"$builder" -m build --no-isolation --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
ls "$work/dist"

last=
for python in ${COIGP_PYTHONS:-python3.11 python3.12 python3.13}; do
  version=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null) || { echo "$python: not here"; continue; }
  echo "Python $version: pip install the wheel into a bare environment, coigp env, coigp demo"
  venv="$work/$version"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary "$work"/dist/*.whl
  mkdir "$venv/run"
  (cd "$venv/run" && "$venv/bin/coigp" env && "$venv/bin/coigp" demo >demo.txt && tail -4 demo.txt)
  last=$venv
done
[ -n "$last" ] || { echo "no Python to try"; exit 1; }

echo "The sdist's own tests, beside the installed wheel of $(basename "$last")"
"$last/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary 'pytest>=8.3' 'hypothesis>=6.100' build hatchling
tar -xzf "$work"/dist/*.tar.gz -C "$work"
cd "$work"/coig_p-*/
# Without the optional packages: what needs one is skipped with a reason, or not asked for here.
HF_HUB_OFFLINE=1 "$last/bin/python" -m pytest -q -p no:cacheprovider -W default \
  tests/core tests/ingest tests/store tests/stats tests/test_architecture.py tests/test_builder.py tests/test_package.py \
  tests/test_public.py tests/test_registration.py
