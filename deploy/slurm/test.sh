#!/usr/bin/env bash
# deploy/slurm/test.sh [DMAPATH]: runs the array script on a real Slurm of one node, from Debian's packages, started for the test
# alone, and holds the merged shards against a sweep that ran as one. Needs root, and apt-get when Slurm is not installed. Says why and ends
# with 0 where Slurm cannot be had; ends with 1 when the results differ.
set -euo pipefail
cd "$(dirname "$0")/../.."
skip() { echo "slurm: skipped: $*"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "needs root to start its daemons"
if ! command -v slurmctld >/dev/null || ! command -v slurmd >/dev/null || ! command -v munged >/dev/null; then
  command -v apt-get >/dev/null || skip "Slurm is not installed and there is no apt-get"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge; } >/dev/null 2>&1 \
    || skip "Slurm is not installed and could not be"
fi
work=$(mktemp -d)
chmod 755 "$work"
pids=()
cleanup() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
dmapath=${1:-$work/dmapath}
[ -n "${1:-}" ] || go build -o "$dmapath" ./cmd/dmapath
dmapath=$(realpath "$dmapath")

# Daemons of our own: key, socket and state in the work directory, ports that a real Slurm does not use.
dd if=/dev/urandom of="$work/munge.key" bs=1024 count=1 status=none
chmod 400 "$work/munge.key"
mkdir -p "$work/munge" "$work/state" "$work/spool"
munged --foreground --force --key-file="$work/munge.key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
  --seed-file="$work/munge/seed" --log-file="$work/munge/log" >"$work/munged.out" 2>&1 &
pids+=($!)
host=$(hostname -s)
cat >"$work/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES State=UP
CONF
export SLURM_CONF=$work/slurm.conf
slurmctld -D -f "$SLURM_CONF" >"$work/ctld.out" 2>&1 &
pids+=($!)
slurmd -D -f "$SLURM_CONF" >"$work/d.out" 2>&1 &
pids+=($!)
for _ in $(seq 60); do
  sinfo -h -o %T 2>/dev/null | grep -q idle && break
  sleep 1
done
sinfo -h -o %T 2>/dev/null | grep -q idle || { tail -n 5 "$work"/*.log "$work"/*.out; skip "the daemons do not run here"; }

cat >"$work/study.yaml" <<'STUDY'
set:
  iommu.iotlb.entries: 16..64*2
  iommu.walkers: [1, 2, 4]
workload: [map-benchmark]
variant: [map_phys@7.3]
backend: [iommu-strict]
cache: [hot]
operations: 64
STUDY
DMAPATH=$dmapath sbatch --quiet --wait --array=5-7 --mem-per-cpu=0 --cpus-per-task=1 --chdir="$work" --output="$work/task-%a.log" deploy/slurm/sweep.sbatch "$work/study.yaml" "$work/study" \
  || { cat "$work"/task-*.log; exit 1; }
"$dmapath" merge --quiet "$work"/study/part-* --out "$work/merged"
"$dmapath" sweep --quiet "$work/study.yaml" --out "$work/whole"
ls "$work/study"
diff -r "$work/merged" "$work/whole"
echo "slurm: $(scontrol --version): an array of 3 tasks, merged, is the sweep that ran as one"
