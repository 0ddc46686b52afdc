#!/bin/bash
# Says that it is up, keeps the version it runs in its state, and waits to be stopped. The version "broken" does not start.
set -euo pipefail

read -r version </opt/mesosphere/etc/beacon/version
if [ "$version" = broken ]; then
    echo "beacon: this version cannot start"
    exit 1
fi
echo "$version" >/var/lib/dcos/beacon/running
systemd-notify --ready
exec sleep infinity
