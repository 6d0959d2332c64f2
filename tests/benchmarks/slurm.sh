#!/usr/bin/env bash
# A Slurm of one's own on this machine: slurmctld, two slurmd, munge. Debian's packages, as root.
#
#     tests/benchmarks/slurm.sh install          apt-get: slurmctld slurmd slurm-client munge
#     tests/benchmarks/slurm.sh start FOLDER     prints SLURM_CONF=...; all else stays in FOLDER
#     tests/benchmarks/slurm.sh stop FOLDER      ends what `start` has started, by pid
#
# Two virtual nodes, qn1 and qn2, each with all cores of this machine; no accounting.
set -euo pipefail

start() {
  local folder=$1
  mkdir -p "$folder"/{ctld,munge,run,log,qn1,qn2}
  # munged refuses folders that others could write, and keys that are not its own.
  chmod 700 "$folder/munge"
  if [ ! -s "$folder/munge/key" ]; then
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chmod 400 "$folder/munge/key"
  fi
  munged --key-file="$folder/munge/key" --socket="$folder/run/munge.socket" --force \
    --pid-file="$folder/run/munged.pid" --log-file="$folder/log/munged.log" \
    --seed-file="$folder/munge/seed"
  local cores memory host
  cores=$(nproc)
  memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  host=$(hostname -s)
  cat >"$folder/slurm.conf" <<CONF
ClusterName=qsynth
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURM_PORT:-26817}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/ctld
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=20
SlurmctldTimeout=20
KillWait=3
MinJobAge=600
JobRequeue=1
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=qn1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((${SLURM_PORT:-26817} + 1)) CPUs=$cores RealMemory=$memory State=UNKNOWN
NodeName=qn2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((${SLURM_PORT:-26817} + 2)) CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=qn1,qn2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
CONF
  export SLURM_CONF=$folder/slurm.conf
  slurmctld -f "$SLURM_CONF"
  slurmd -N qn1 -f "$SLURM_CONF"
  slurmd -N qn2 -f "$SLURM_CONF"
  for _ in $(seq 60); do
    if [ "$(sinfo --noheader --Node --format=%T 2>/dev/null | grep -c '^idle$')" = 2 ]; then
      echo "SLURM_CONF=$SLURM_CONF"
      return
    fi
    sleep 0.5
  done
  echo "the nodes of Slurm did not come up; see $folder/log" >&2
  tail -n 5 "$folder"/log/*.log >&2
  exit 1
}

stop() {
  local folder=$1 pid
  for file in "$folder"/run/slurmd-qn1.pid "$folder"/run/slurmd-qn2.pid "$folder"/run/slurmctld.pid "$folder"/run/munged.pid; do
    if [ -s "$file" ]; then
      pid=$(cat "$file")
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
      done
    fi
  done
}

case ${1:-} in
  install)
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
    ;;
  start) start "$2" ;;
  stop) stop "$2" ;;
  *)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac
