#!/usr/bin/env bash
# Installs the Debian servers and tools that some tests need, and a Chinese font for screenshots;
# starts none of them: every test starts its own, on loopback, with its own data.
set -euo pipefail

PACKAGES=(openssh-server apache2 samba rabbitmq-server redis-server postgresql chromium
    fonts-wqy-microhei openssl rsync sqlite3 systemd)
POLICY=/usr/sbin/policy-rc.d

if ! command -v apt-get >/dev/null; then
    echo "NOT INSTALLED: no apt-get here. Tests that need ${PACKAGES[*]} will be listed as NOT RUN." >&2
    exit 0
fi

missing=()
for package in "${PACKAGES[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    echo "All servers for the tests are installed."
    exit 0
fi
if ((EUID != 0)); then
    echo "Installing ${missing[*]} needs root: sudo $0" >&2
    exit 1
fi

scratch=$(mktemp -d)
kept_policy=$scratch/policy-rc.d
restore_policy() {
    rm -f "$POLICY"
    if [[ -e $kept_policy || -L $kept_policy ]]; then
        mv "$kept_policy" "$POLICY"
    fi
    rm -rf "$scratch"
}
trap restore_policy EXIT
if [[ -e $POLICY || -L $POLICY ]]; then
    mv "$POLICY" "$kept_policy"
fi
# 101 is "action forbidden": invoke-rc.d and deb-systemd-invoke then start nothing.
printf '#!/bin/sh\nexit 101\n' >"$POLICY"
chmod 755 "$POLICY"

export DEBIAN_FRONTEND=noninteractive
echo "Installing ${missing[*]} (about 350 MB for all of them) ..."
run_quietly() {
    # The whole output matters only when the command fails.
    if ! "$@" >"$scratch/log" 2>&1 </dev/null; then
        tail -n 40 "$scratch/log" >&2
        echo "FAILED: $*" >&2
        exit 1
    fi
}
run_quietly apt-get update
run_quietly apt-get install --yes --no-install-recommends "${missing[@]}"
echo "Installed."
