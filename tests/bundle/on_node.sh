#!/bin/sh
# What an operator does with the archive on a node without a network; run as root in the node's own root, where
# /archive holds the archive and its checksum. Prints the answer of `accelwatch check --json`, everything else on stderr.
set -eu

[ "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')" = lo ] || { echo "this is not an empty network" >&2; exit 1; }
cd /archive
sha256sum --check --quiet ./*.sha256 >&2
tar xf accelwatch-*-offline.tar.gz --one-top-level=unpacked --strip-components=1
began=$(date +%s)
unpacked/systemd/install.sh --no-start >&2
echo "installed in $(($(date +%s) - began)) s" >&2
accelwatch --version >&2
accelwatch config check /etc/accelwatch/accelwatch.yml >&2

cat > scenario.yml <<'SCENARIO'
nodes:
  - {name: as-1, vendor: ascend, family: 910B, devices: 2}
SCENARIO
cat > node.yml <<'CONFIG'
node: as-1
state_dir: /archive/state
sources:
  nvml: {enabled: false}
  npu_smi: {command: /archive/hardware/as-1/npu-smi, timeout: 60s}
  hccn_tool: {enabled: false}
  kernel_log: {enabled: false}
  rdma: {enabled: false}
CONFIG
mkdir -p state
accelwatch simulate node /archive/scenario.yml --dir /archive/hardware >&2 &
hardware=$!
trap 'kill "$hardware"' EXIT
deadline=$(($(date +%s) + 120))
until [ -S hardware/as-1/tools.sock ]; do
    [ "$(date +%s)" -lt "$deadline" ] || { echo "no simulated hardware within 120 s" >&2; exit 1; }
    sleep 0.1
done
accelwatch --config /archive/node.yml check >&2 || echo "check: status $?" >&2
accelwatch --config /archive/node.yml check --json
