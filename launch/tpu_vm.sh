#!/usr/bin/env bash
# Create a TPU VM (or a slice of several hosts), install, run a command on all its workers, and go on after a preemption until the command is done.
#
#   TPU_NAME=vintk ZONE=us-central1-a ACCELERATOR=v5litepod-8 BUCKET=my-bucket \
#     launch/tpu_vm.sh train --config configs/revit_deit_s.py --config.data.source=tfds:imagenet2012 --workdir runs/revit_deit_s
#   launch/tpu_vm.sh --dry-run train --config configs/revit_deit_s.py        # prints every command, runs none
#
# Runs lie in gs://BUCKET/runs, mounted at runs/ by gcsfuse on every worker, so that a new machine finds the checkpoints of the old one.
# Wants gcloud, logged in, with a project. It has been tried as a dry run only: no TPU was at hand when it was written.
set -euo pipefail

DRY_RUN=
if [ "${1:-}" = --dry-run ]; then
  DRY_RUN=1
  shift
fi
if [ $# -lt 1 ]; then
  echo "usage: launch/tpu_vm.sh [--dry-run] COMMAND [OPTIONS...], COMMAND being train, search, rank, assign, infer" >&2
  exit 2
fi
TPU_NAME=${TPU_NAME:-vintk}
ZONE=${ZONE:-us-central1-a}
ACCELERATOR=${ACCELERATOR:-v5litepod-8}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
BUCKET=${BUCKET:-}
REPOSITORY=${REPOSITORY:-$(git config --get remote.origin.url || true)}
PROVISIONING=${PROVISIONING---spot}
if [ -z "$BUCKET" ] && [ -z "$DRY_RUN" ]; then
  echo "BUCKET is empty: name the bucket of gs:// that runs are kept in, or a preemption loses them." >&2
  exit 2
fi

run() {
  if [ -n "$DRY_RUN" ]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

everywhere() {
  run gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$ZONE" --worker=all --command="$1"
}

state() {
  if [ -n "$DRY_RUN" ]; then
    echo ACTIVE
  else
    gcloud compute tpus queued-resources describe "$TPU_NAME" --zone="$ZONE" --format='value(state.state)' 2>/dev/null || echo ABSENT
  fi
}

create() {
  # shellcheck disable=SC2086  # several words, or none
  run gcloud compute tpus queued-resources create "$TPU_NAME" --node-id="$TPU_NAME" --zone="$ZONE" \
    --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" $PROVISIONING
  until [ "$(state)" = ACTIVE ]; do
    echo "waiting for $TPU_NAME: $(state)"
    sleep 30
  done
}

delete() {
  run gcloud compute tpus queued-resources delete "$TPU_NAME" --zone="$ZONE" --force --quiet
}

install() {
  everywhere "test -d vintk_jax || git clone $(printf %q "$REPOSITORY") vintk_jax"
  everywhere "cd vintk_jax && python3 -m venv .venv && .venv/bin/pip install --quiet -e '.[tpu]'"
  everywhere "command -v gcsfuse || (curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee /usr/share/keyrings/cloud.google.asc \
>/dev/null && echo 'deb [signed-by=/usr/share/keyrings/cloud.google.asc] https://packages.cloud.google.com/apt gcsfuse-jammy main' \
| sudo tee /etc/apt/sources.list.d/gcsfuse.list && sudo apt-get update -q && sudo apt-get install -qy gcsfuse)"
  everywhere "cd vintk_jax && mkdir -p runs && (mountpoint -q runs || gcsfuse --implicit-dirs --only-dir runs $(printf %q "${BUCKET:-BUCKET}") runs)"
}

words=$(printf '%q ' "$@")
while true; do
  if [ -z "$DRY_RUN" ] && [ "$(state)" != ABSENT ] && [ "$(state)" != ACTIVE ]; then
    delete # what a preemption leaves
  fi
  if [ -n "$DRY_RUN" ] || [ "$(state)" != ACTIVE ]; then
    create
  fi
  install
  if everywhere "cd vintk_jax && VINTK_DISTRIBUTED=1 .venv/bin/python -m vintk_jax.$words"; then
    break
  fi
  if [ "$(state)" = ACTIVE ]; then
    echo "The command failed on a machine that still runs: see its messages above. Nothing was deleted." >&2
    exit 1
  fi
  echo "preempted: once more, from the last checkpoint"
done
run gcloud compute tpus queued-resources delete "$TPU_NAME" --zone="$ZONE" --force --quiet
