#!/usr/bin/env bash
# Prints how long the project's Go files are, so that growth is seen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
git ls-files '*.go' | grep -v '_test\.go$' | xargs wc -l | grep -v ' total$' | sort -n |
  awk '{n[NR]=$1; f[NR]=$2} END {
    printf "sizes: %d files, p50 %d lines, p90 %d lines; longest:", NR, n[int(NR*.5)], n[int(NR*.9)]
    for (i = NR; i > NR-5 && i > 0; i--) printf " %s %d", f[i], n[i]
    print ""
  }'
