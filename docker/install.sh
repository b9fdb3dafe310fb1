#!/bin/sh
# Make a virtual environment of its own for one image, from the source tree around this script.
#   docker/install.sh FOLDER EXTRAS      docker/install.sh /opt/ftx serve,onnx
# Versions are those of constraints.txt. The environment holds a wheel of ftx, nothing of the source tree, and no pip.
set -eu
folder=$1
extras=$2
cd "$(dirname "$0")/.."
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --wheel-dir "$built" .
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile \
    --constraint constraints.txt "$(echo "$built"/*.whl)[$extras]"
"$folder/bin/python" -m pip uninstall --quiet --yes pip
"$folder/bin/python" -c 'import ftx' # what is missing shows here, not when the container starts
