#!/usr/bin/env bash
# Installs the MLflow server that crates/agent/tests/mlflow.rs speaks to, and prints the path of its program:
#
#   ${XDG_CACHE_HOME:-~/.cache}/windlass/mlflow-VERSION/bin/mlflow
#
# From where this machine's pip gets its packages; some 650 MB. Does nothing, quickly, where it is there already. It ends
# with 1 and says why where it cannot be had.
set -euo pipefail

version=3.17.2
# What a server with users and passwords needs besides (`mlflow[auth]`).
extra=Flask-WTF==1.2.2

cache=${XDG_CACHE_HOME:-$HOME/.cache}/windlass
place=$cache/mlflow-$version
mkdir -p "$cache/locks"
exec 9>"$cache/locks/mlflow"
flock 9
if [[ ! -f $place/complete ]]; then
  rm -rf "$place"
  echo "Installing MLflow $version" >&2
  python3 -m venv "$place" >&2 || {
    echo "python3 -m venv failed: on Debian it needs the package python3-venv" >&2
    exit 1
  }
  "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "mlflow==$version" "$extra" >&2
  touch "$place/complete"
fi
echo "$place/bin/mlflow"
