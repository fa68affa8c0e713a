#!/usr/bin/env bash
# The compose file, really run: everything up, traffic on, services killed, and both stores compared. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! docker info >/dev/null 2>&1 || ! docker compose version >/dev/null 2>&1; then
  echo "compose-test: no Docker engine with the compose plugin here; see https://docs.docker.com/engine/install/" >&2
  exit 1
fi
export COMPOSE_PROJECT_NAME=segue-test SHOP_ROWS=${SHOP_ROWS:-60000} TRAFFIC_RATE=${TRAFFIC_RATE:-60}
say() { printf '== %s\n' "$*"; }
finish() {
  local status=$?
  if ((status)); then
    docker compose --profile traffic ps -a || true
    docker compose --profile traffic logs --tail 30 || true
  fi
  docker compose --profile traffic --profile monitoring down --volumes --timeout 10 >/dev/null 2>&1 || true
  exit $status
}
trap finish EXIT

docker compose --profile traffic --profile monitoring config --quiet
say 'the file is valid; building'
docker compose build --quiet shop
say 'up --wait'
docker compose up --wait --wait-timeout 300
docker compose --profile traffic up --wait -d traffic
for service in reader transformer deduplicator applier reconciler; do
  say "kill -9 of the $service, under traffic"
  docker compose kill --signal SIGKILL "$service"
  docker compose up --wait --wait-timeout 120 "$service"
done
say 'reconcile while people go on'
docker compose exec -T reconciler segue reconcile --wait --timeout 5m
docker compose --profile traffic stop traffic
say 'reconcile with everybody gone'
docker compose exec -T reconciler segue reconcile --wait --timeout 5m
docker compose exec -T reconciler segue status
say 'a row changed by hand on the target is found'
docker compose exec -T target psql -qU segue store -c "UPDATE crm.customer SET family_name = 'tampered' WHERE customer_id = 1"
status=0
docker compose exec -T reconciler segue reconcile --timeout 2m || status=$?
((status == 4)) || { echo "compose-test: reconcile ended with $status, want 4" >&2; exit 1; }
say 'Prometheus scrapes'
docker compose --profile monitoring up --wait --wait-timeout 120 prometheus
say 'all held'
