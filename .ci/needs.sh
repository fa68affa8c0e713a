#!/usr/bin/env bash
# Makes sure that what the tests need is there. As root on Debian or Ubuntu it installs what is missing; elsewhere it
# names it and says how to get it.
set -euo pipefail

missing=() packages=()
need() { # need WHAT PACKAGE COMMAND...: succeeds if one of the commands is there
  local what=$1 package=$2 command
  shift 2
  for command in "$@"; do
    if compgen -G "$command" >/dev/null || command -v "$command" >/dev/null; then return; fi
  done
  missing+=("$what") packages+=("$package")
}

need 'PostgreSQL 14 or newer, server binaries' postgresql \
  '/usr/lib/postgresql/*/bin/postgres' '/usr/pgsql-*/bin/postgres' '/opt/homebrew/opt/postgresql*/bin/postgres' initdb
need 'Redis' redis-server redis-server
need 'Java 17 or newer' openjdk-17-jre-headless java
need 'Maven' maven mvn
need 'kcat, for the test that reads topics with it' kcat kcat
need 'xz, which unpacks the other versions of PostgreSQL' xz-utils xz
need 'a C compiler, for the race detector' gcc gcc cc clang

((${#missing[@]})) || exit 0
printf 'missing: %s\n' "${missing[@]}" >&2
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing: ${packages[*]}" >&2
  apt-get update -qq >/dev/null
  # The tests start their own servers; the packages' need not run.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  rm -f /usr/sbin/policy-rc.d
  exit 0
fi
cat >&2 <<EOF
How to get it:
  Debian, Ubuntu:  sudo apt-get install ${packages[*]}
  Fedora:          sudo dnf install postgresql-server redis java-17-openjdk-headless maven kcat xz gcc
  macOS:           brew install postgresql@17 redis openjdk@17 maven kcat xz
EOF
exit 1
