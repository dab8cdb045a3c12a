#!/usr/bin/env bash
# Makes the image of tests/frameworks.rs as a tar, without a registry or a container engine:
#
#   tests/frameworks/build-image.sh OUTDIR
#     OUTDIR/frameworks.tar   localhost/frameworks:dev   PyTorch (Debian's), JAX, XGBoost, and the programs of this folder
#
# $TESTCLUSTER is the testcluster program (default: the one on PATH). The image is not made again when nothing that
# goes into it has changed. Debian packages and Python wheels come from where this machine's apt and pip get theirs.
# The demo needs none of it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: build-image.sh OUTDIR}"
out=$(cd "$1" && pwd)
testcluster=${TESTCLUSTER:-testcluster}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/windlass

debian_packages=python3,python3-torch,python3-numpy,libgomp1,ca-certificates
# Where bytecode lies: an image leaves every __pycache__ out, and a container cannot write its own.
bytecode=/opt/bytecode

# What no program here loads: of 1.6 GB that are installed, half a GB.
#   numpy of Debian's           hidden by the wheel's, which JAX needs
#   LLVM and AMD's libraries    only for a plugin of UCX's that moves GPUs' memory, loaded where there is such a GPU
slim() {
  local root=$1 library=$1/usr/lib/x86_64-linux-gnu
  rm -rf "$root"/usr/lib/libtorch-test "$root"/usr/include "$root"/usr/share/{info,perl,zsh,vim,gdb} \
    "$root"/usr/lib/python3/dist-packages/{numpy,hypothesis,setuptools,pkg_resources,chardet,torch/include,torch/test} \
    "$library"/{libLLVM-*,libamd_comgr.so*,libamdhip64.so*,libhsa-runtime64.so*,gconv,cmake} "$library"/*.a
  # Debian builds PyTorch without libuv, and torchrun asks for it at two places that do not look at USE_LIBUV.
  sed -i 's/multi_tenant=True,/multi_tenant=True, use_libuv=False,/' \
    "$root"/usr/lib/python3/dist-packages/torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py
  sed -i '/if _torchelastic_use_agent_store/,/timeout=timeout,/ s/timeout=timeout,/timeout=timeout, use_libuv=use_libuv,/' \
    "$root"/usr/lib/python3/dist-packages/torch/distributed/rendezvous.py
  find "$root"/usr/lib/python3/dist-packages/torch/bin -type f ! -name torch_shm_manager -delete
  find "$root"/usr/lib/python3* "$root"/usr/local/lib -depth \
    \( -name __pycache__ -o -path '*-packages/*/tests' -o -path '*-packages/*/include' \) -exec rm -rf {} +
}

# The root: files are shared with the cache's by hard links, and none is written to.
fetch_root() {
  local wheels=() root slimmed line
  while read -r line; do
    wheels+=(--pip "$line")
  done < <(grep -v '^#' "$here/requirements.txt")
  root=$("$testcluster" debian-root --suite trixie --include "$debian_packages" "${wheels[@]}")
  slimmed=$root-$(sha256sum "$here/build-image.sh" | cut -c1-12)
  if [[ ! -d $slimmed ]]; then
    rm -rf "$root"-*
    cp -al "$root" "$slimmed.partial"
    slim "$slimmed.partial"
    PYTHONPYCACHEPREFIX=$bytecode chroot "$slimmed.partial" python3 -m compileall -q -j 0 \
      --invalidation-mode unchecked-hash /usr/lib/python3.13 /usr/lib/python3/dist-packages \
      /usr/local/lib/python3.13/dist-packages >&2 || true # some packages carry files that are no valid Python
    mv "$slimmed.partial" "$slimmed"
  fi
  echo "$slimmed"
}

mkdir -p "$cache/locks"
exec 9>"$cache/locks/frameworks-image"
flock 9
key=$(cat "$here"/*.py "$here/requirements.txt" "$here/build-image.sh" | sha256sum)
if [[ -f $out/frameworks.tar && $(cat "$out/frameworks.key" 2>/dev/null) == "$key" ]]; then
  exit
fi
root=$(fetch_root)
echo "making frameworks.tar" >&2
rm -f "$out/frameworks.key"
files=()
for program in "$here"/*.py; do
  files+=(--file "$program:/opt/frameworks/$(basename "$program")")
done
"$testcluster" image root --root "$root" "${files[@]}" \
  --env PYTHONDONTWRITEBYTECODE=1 --env "PYTHONPYCACHEPREFIX=$bytecode" --env PYTHONUNBUFFERED=1 \
  --env HOME=/tmp --env USER=trainer --env OMP_NUM_THREADS=1 --env USE_LIBUV=0 \
  --workdir /opt/frameworks --cmd python3 --name localhost/frameworks:dev --output "$out/frameworks.tar"
echo "$key" >"$out/frameworks.key"
