#!/usr/bin/env bash
# Runs the layers of tests that are named (all four without names) and says at the end what ran, what was skipped and why.
# All with the race detector, but for the bulk of the random histories.
#
#   core      decisions: tables, golden scripts, properties, models
#   adapters  protocols: real PostgreSQL, an in-process Kafka with faults
#   pipeline  everything in one process: random histories against a model, kills
#   real      Apache Kafka, Redis and two PostgreSQL clusters as separate processes
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

core='./pkg/change ./pkg/table ./pkg/fault ./pkg/frontier ./pkg/request ./pkg/chunk ./pkg/mapping ./pkg/migration ./pkg/reconcile'
logs=$(mktemp -d) failed=0 summary=()
trap 'rm -rf "$logs"' EXIT

# layer NAME TIMEOUT GO-TEST-ARGUMENTS...
layer() {
  local name=$1 timeout=$2 start=$SECONDS status=0
  shift 2
  echo "== layer $name"
  go test ${race--race} -count=1 -v -timeout "$timeout" "$@" >"$logs/$name" 2>&1 || status=1
  grep -E '^(ok|FAIL|panic:|\?)' "$logs/$name" | grep -v 'no test files'
  local passed skipped failures
  passed=$(grep -c '^--- PASS' "$logs/$name") failures=$(grep -c '^--- FAIL' "$logs/$name") skipped=$(grep -c '^--- SKIP' "$logs/$name")
  if ((status)); then
    failed=1
    echo "-- layer $name failed; the end of its output and the lines around each failure:"
    grep -n -E -B 30 -A 5 '^\s*--- FAIL|^panic:|WARNING: DATA RACE|build failed|^# ' "$logs/$name" | tail -n 300
    tail -n 40 "$logs/$name"
  fi
  if ((skipped)); then grep -A 2 '^--- SKIP' "$logs/$name"; fi
  summary+=("$(printf '%-9s %s: %d passed, %d failed, %d skipped, %d s' "$name" "$( ((status)) && echo FAILED || echo ok)" \
    "$passed" "$failures" "$skipped" $((SECONDS - start)))")
}

for name in "${@:-core adapters pipeline real}"; do
  for one in $name; do
    case $one in
    core) layer core 10m $core ;;
    adapters) layer adapters 20m -p 2 -skip '^Test(Pipeline|Real)' $(go list ./... | grep -v -x -F "$(go list $core)") ;;
    pipeline) # a few histories with the race detector, which makes them six times as slow, and hundreds without
      SEGUE_HISTORIES=${SEGUE_HISTORIES:-16} layer pipeline 20m -parallel 4 -run '^TestPipeline' ./services/...
      race='' layer histories 20m -parallel 4 -run '^TestPipelineHistories$' ./services/segue
      ;;
    real) layer real 25m -p 1 -run '^TestReal' ./pkg/... ./services/... ;;
    *) echo "no such layer: $one (core, adapters, pipeline, real)" >&2 && exit 2 ;;
    esac
  done
done
echo "== what ran"
printf '%s\n' "${summary[@]}"
exit $failed
