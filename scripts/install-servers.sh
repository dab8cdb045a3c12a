#!/usr/bin/env bash
# Installs servers that tests of the agent speak to, each into a folder of its own, and prints these folders:
#
#   ${XDG_CACHE_HOME:-~/.cache}/windlass/NAME-VERSION/{bin/python,complete}
#
#   scripts/install-servers.sh [mlflow] [kserve] [llama-cpp] [triton] [mlserver] [evidently] [nannyml] [whylogs]     without a name those that tests speak to, some 1.6 GB
#
# From where this machine's pip gets its packages. Does nothing, quickly, where they are there already. It ends with 1 and
# says why where one cannot be had; the others are installed all the same.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/windlass

# install NAME VERSION MODULES PIP-ARGUMENT...: what decides how a server answers is named by its version; of the rest it
# takes what it finds. MODULES are compiled here, so that the first start is as quick as any.
install() {
  local name=$1 version=$2 modules=$3 place=$cache/$1-$2
  shift 3
  if [[ ! -f $place/complete ]]; then
    rm -rf "$place"
    echo "Installing $name $version" >&2
    python3 -m venv "$place" >&2 || {
      echo "python3 -m venv failed: on Debian it needs the package python3-venv" >&2
      return 1
    }
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "$@" >&2 || return 1
    env -u PYTHONDONTWRITEBYTECODE "$place/bin/python" -c "import $modules" || return 1
    touch "$place/complete"
  fi
  echo "$place"
}

# Users and passwords need Flask-WTF (`mlflow[auth]`).
mlflow() {
  install mlflow 3.17.2 mlflow mlflow==3.17.2 Flask-WTF==1.2.2
}

kserve() {
  install kserve 0.21.0 "joblib, kserve.protocol.rest.server, sklearn.ensemble" --only-binary :all: kserve==0.21.0 \
    scikit-learn==1.9.1 numpy==2.4.6 pandas==2.3.3 fastapi==0.165.0 starlette==1.10.0 uvicorn==0.54.0 orjson==3.13.0
}

# llama.cpp's own HTTP server, as the package xllamacpp has it in its wheels; gguf writes its model.
llama-cpp() {
  install llama-cpp 2026.10.11549 "gguf, xllamacpp" --only-binary :all: xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6
}

# NVIDIA's Triton with its backend for Python, as the package nvidia-pytriton has both in its wheel. What it needs besides
# is for another interface to it.
triton() {
  local place=$cache/triton-0.7.0 server stub
  install triton 0.7.0 numpy --only-binary :all: --no-deps nvidia-pytriton==0.7.0 numpy==1.26.4 > /dev/null || return 1
  server=$(echo "$place"/lib/python3*/site-packages/pytriton/tritonserver)
  stub=$server/backends/python/triton_python_backend_stub
  # It is looked for beside the backend, and there is one for each Python, whose library it is linked with.
  cp "$server/python_backend_stubs/$("$place/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"/* "$server/backends/python/" &&
    chmod +x "$server/bin/tritonserver" "$stub" || return 1
  if ldd "$server/bin/tritonserver" "$stub" | grep 'not found' >&2; then
    echo "triton does not find these libraries of this machine" >&2
    rm "$place/complete"
    return 1
  fi
  echo "$place"
}

# What the benchmark of the proxy stands in front of.
mlserver() {
  install mlserver 1.7.1 mlserver mlserver==1.7.1
}

# What the benchmark of drift stands beside.
evidently() {
  install evidently 0.7.23 "evidently, scipy" evidently==0.7.23 pandas==2.3.3 pyarrow
}

nannyml() {
  install nannyml 0.13.1 nannyml nannyml==0.13.1 pandas==2.3.3 statsmodels pyarrow
}

whylogs() {
  install whylogs 1.6.4 whylogs "whylogs[viz]==1.6.4" pyarrow
}

mkdir -p "$cache/locks"
exec 9>"$cache/locks/servers"
flock 9
failed=0
for name in "${@:-mlflow kserve llama-cpp triton}"; do
  for one in $name; do
    case $one in
      mlflow | kserve | llama-cpp | triton | mlserver | evidently | nannyml | whylogs) "$one" || failed=1 ;;
      *)
        echo "'$one' is none of mlflow, kserve, llama-cpp, triton, mlserver, evidently, nannyml and whylogs" >&2
        failed=1
        ;;
    esac
  done
done
exit $failed
