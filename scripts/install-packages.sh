#!/bin/sh
# Installs the Debian packages that a real node (crates/testcluster) and its images need, and
# says which. Does nothing, quickly, where they are there already. Asks sudo when not root.
#
#   runc                        runs containers for containerd
#   containernetworking-plugins joins pods to the node's network
#   iproute2 nftables           the node's network namespace, and Services in it
#   util-linux                  nsenter, setsid, unshare
#   debootstrap                 Debian roots for images
#   busybox-static              the pause image
#   gcc libc6-dev               the kubelet (cgo), and static programs for images
#   ca-certificates             so that images made here trust what this machine trusts
set -eu

wanted="runc containernetworking-plugins iproute2 nftables util-linux debootstrap busybox-static gcc libc6-dev ca-certificates"

if ! command -v dpkg-query >/dev/null; then
    echo "This is not Debian or its kin. Install what stands for: $wanted" >&2
    exit 1
fi

missing=
for package in $wanted; do
    case "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" in
        installed*) ;;
        *) missing="$missing $package" ;;
    esac
done

if [ -z "$missing" ]; then
    echo "All Debian packages are there: $wanted"
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi

echo "Installing Debian packages:$missing"
$as_root apt-get update --quiet=2
# The list is words, to be split.
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $missing
