#!/usr/bin/env bash
# Runs the layers of tests that are named (all without names) and says at the end what ran, on which PostgreSQL, what was
# skipped and why.
#
#   core      decisions: tables, golden scripts, properties, models
#   adapters  protocols: real PostgreSQL, an in-process Kafka with faults
#   pipeline  everything in one process: random histories against a model, kills
#   real      Apache Kafka, Redis and two PostgreSQL clusters as separate processes
#   oldest    adapters, pipeline and real again, as far as they use PostgreSQL, on the oldest one
#   readers   the tests of the reader and of the applier's SQL on the versions in between
#
# The first four run with the race detector (but for the bulk of the random histories), on the newest PostgreSQL or on the one
# that SEGUE_TEST_POSTGRES_VERSION names; with SEGUE_TEST_POSTGRES on that server, and then the last two have nothing to add.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

oldest=14 between='15 16 17' newest=18
core='./pkg/change ./pkg/table ./pkg/fault ./pkg/frontier ./pkg/request ./pkg/chunk ./pkg/mapping ./pkg/migration ./pkg/reconcile'
readers='./pkg/postgres ./pkg/pgsource ./pkg/pgscan ./pkg/pgtarget ./services/reader'
logs=$(mktemp -d) failed=0 summary=() skips=()
trap 'rm -rf "$logs"' EXIT

# layer NAME TIMEOUT GO-TEST-ARGUMENTS...
layer() {
  local name=$1 timeout=$2 start=$SECONDS status=0
  shift 2
  echo "== layer $name"
  SEGUE_TEST_POSTGRES_VERSION=${version-} go test $race -count=1 -v -timeout "$timeout" "$@" >"$logs/$name" 2>&1 || status=1
  grep -E '^(ok|FAIL|panic:|\?)' "$logs/$name" | grep -v 'no test files'
  local passed skipped failures servers
  passed=$(grep -c '^--- PASS' "$logs/$name") failures=$(grep -c '^--- FAIL' "$logs/$name") skipped=$(grep -c '^ *--- SKIP' "$logs/$name")
  servers=$(grep -oE 'test server: PostgreSQL [^ ]+' "$logs/$name" | sed 's/^test server: //' | sort -u | paste -sd, | sed 's/,/, /g')
  # A layer must have run on the version that it is said to run on. Only skipped tests (an error in CI) run on none.
  if [[ ${version-} && $name != core && ( $servers || ${CI-} == true || $skipped == 0 ) && ! $servers =~ ^PostgreSQL\ $version[^0-9,][^,]*$ ]]; then
    echo "-- layer $name was to run on PostgreSQL $version, and ran on: ${servers:-none}"
    status=1
  fi
  if ((status)); then
    failed=1
    echo "-- layer $name failed; the end of its output and the lines around each failure:"
    grep -n -E -B 30 -A 5 '^\s*--- FAIL|^panic:|WARNING: DATA RACE|build failed|^# ' "$logs/$name" | tail -n 300
    tail -n 40 "$logs/$name"
  fi
  if ((skipped)); then # a test's own words stand in front of its verdict
    skips+=("$(awk -v layer="$name" '/^ *[a-z0-9_]+\.go:[0-9]+: /{why=$0; sub(/^ */, "", why)} /^ *--- SKIP/{print layer ": " $3 ": " why}' "$logs/$name")")
  fi
  summary+=("$(printf '%-15s %s: %d passed, %d failed, %d skipped, %d s%s' "$name" "$( ((status)) && echo FAILED || echo ok)" \
    "$passed" "$failures" "$skipped" $((SECONDS - start)) "${servers:+, on $servers}")")
}

# adapters [-VERSION]: of another version of PostgreSQL only the packages whose tests use one.
adapters() {
  local packages
  packages=$(go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./...)
  if [[ ${1-} ]]; then packages=$(grep segue/pkg/pgtest <<<"$packages"); fi
  layer "adapters${1-}" 20m -p 2 -skip '^Test(Pipeline|Real)' $(cut -d ' ' -f 1 <<<"$packages" | grep -v -x -F "$(go list $core)")
}
pipeline() { SEGUE_HISTORIES=${SEGUE_HISTORIES:-16} layer "pipeline${1-}" 20m -parallel 4 -run '^TestPipeline' ./services/...; }
real() { layer "real${1-}" 25m -p 1 -run '^TestReal' ./pkg/... ./services/...; }

# one LAYER
one() {
  local version=${SEGUE_TEST_POSTGRES_VERSION:-$newest} race=-race
  if [[ ${SEGUE_TEST_POSTGRES-} ]]; then version=''; fi
  case $1 in
  core) layer core 10m $core ;;
  adapters) adapters ;;
  pipeline) # a few histories with the race detector, which makes them six times as slow, and hundreds without
    pipeline
    race='' layer histories 20m -parallel 4 -run '^TestPipelineHistories$' ./services/segue
    ;;
  real) real ;;
  oldest | readers)
    if [[ ${SEGUE_TEST_POSTGRES-} ]]; then
      summary+=("$(printf '%-15s skipped: SEGUE_TEST_POSTGRES names one server' "$1")")
      return
    fi
    ;;&
  oldest)
    version=$oldest race=''
    adapters "-$version"
    pipeline "-$version"
    real "-$version"
    ;;
  readers) for version in $between; do race='' layer "readers-$version" 15m -p 2 $readers; done ;;
  *) echo "no such layer: $1 (core, adapters, pipeline, real, oldest, readers)" >&2 && exit 2 ;;
  esac
}

for names in "${@:-core adapters pipeline real oldest readers}"; do
  for name in $names; do one "$name"; done
done
echo "== what ran"
printf '%s\n' "${summary[@]}"
if ((${#skips[@]})); then
  echo "== what was skipped, and why"
  printf '%s\n' "${skips[@]}"
fi
exit $failed
