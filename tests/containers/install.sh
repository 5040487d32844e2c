#!/usr/bin/env bash
# Makes a small Debian machine in a folder, with Docker's engine and images to stand in for those
# that compose.yaml and Dockerfile name: tests/drills/test_compose_drills.py starts it. Nothing is
# taken from a registry of images. Run it again after a change of requirements.txt.
set -euo pipefail

machine=${1:-/var/cache/syncbeat-docker}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mirror=http://deb.debian.org/debian

if ((EUID != 0)); then
    echo "Making namespaces and a machine in $machine needs root: sudo $0" >&2
    exit 1
fi
if ! command -v mmdebstrap >/dev/null; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends mmdebstrap
fi

rm -f "$machine/installed"
if [[ ! -x $machine/usr/sbin/dockerd ]]; then
    echo "The machine, with Docker's engine and compose ..."
    mmdebstrap --quiet --variant=minbase \
        --include=docker.io,docker-cli,docker-buildx,docker-compose,iptables,iproute2,curl,openssl \
        trixie "$machine" "$mirror"
fi

scratch=$(mktemp -d)
unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child \
    "$here/boot.sh" "$machine" >"$scratch/log" 2>&1 &
engine=$!
inside() {
    nsenter --all --target "$(pgrep --parent "$engine")" "$@"
}
finish() {
    # unshare itself does not listen; it ends with its child.
    pkill --parent "$engine" && wait "$engine" || true
    rm -rf "$scratch"
}
trap finish EXIT
for ((tries = 60; tries; tries--)); do
    inside docker info >/dev/null 2>&1 && break
    sleep 1
done
inside docker info >/dev/null || { cat "$scratch/log" >&2; exit 1; }

base() {
    # base NAME SUITE PACKAGES: an image of Debian with these packages.
    inside docker image inspect "base/$1" >/dev/null 2>&1 && return
    echo "The image base/$1 ..."
    mmdebstrap --quiet --variant=minbase --include="$3" "$2" - "$mirror" | inside docker import - "base/$1"
}
base python bookworm python3,python3-pip,ca-certificates,netbase,tzdata
base servers trixie postgresql,redis-server,redis-tools,rabbitmq-server,apache2,gosu,netbase

# The engine's network ends at its own bridges: pip finds everything beside itself.
echo "The packages of requirements.txt ..."
wheels=$machine/srv/wheels
rm -rf "$wheels"
# Debian's Python, older than 3.11.3, needs the last one.
python3 -m pip download --quiet --disable-pip-version-check --python-version 3.11 \
    --only-binary :all: --dest "$wheels" -r "$here/../../requirements.txt" async-timeout

while read -r image name; do
    echo "The image $image ..."
    inside docker build --quiet --tag "$image" --build-context wheels=/srv/wheels - \
        <"$here/images/$name.Dockerfile"
done <"$here/images/names"
inside docker image prune --force >/dev/null
touch "$machine/installed"
echo "Installed in $machine."
